"""Events: recorded once, in order, never changed."""

from __future__ import annotations

import uuid

import pytest
from django.db import ProgrammingError, connection, transaction

from ledger import log
from ledger.models import Event
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor

pytestmark = pytest.mark.django_db


def test_an_event_says_who_did_what_to_which_rows():
    window = uuid.uuid4()
    made = events.record("window.closed", actor=Actor("officer", "7", "ada"), window=window, data={"requests": 2})
    row = Event.objects.get(pk=made.pk)
    assert (row.kind, row.actor_kind, row.actor_id, row.actor_name) == ("window.closed", "officer", "7", "ada")
    assert (row.window, row.order, row.data) == (window, None, {"requests": 2})
    assert Event.objects.get(pk=events.record("order.issued").pk).actor_name == str(SYSTEM)


def test_an_unknown_kind_is_a_mistake_of_ours():
    with pytest.raises(AssertionError, match=r"window\.eaten"):
        events.record("window.eaten")


@pytest.mark.parametrize("change", ["UPDATE ledger_event SET kind = 'order.met'", "DELETE FROM ledger_event"])
def test_events_cannot_be_changed(change):
    events.record("order.rejected")
    with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
        connection.cursor().execute(change)


def test_recording_holds_the_lock_that_orders_events():
    """Numbers are given out before commit: without the lock a reader "after N" could miss an event."""
    with connection.cursor() as cursor:
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        cursor.execute(held)
        before = cursor.fetchone()[0]
        events.record("order.issued")
        cursor.execute(held)
        assert (before, cursor.fetchone()[0]) == (0, 1)
        log.lock()
