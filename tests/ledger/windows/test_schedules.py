"""Scheduled windows: on time, once, and made up for after a pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from ledger import models
from ledger.workflow import policies
from ledger.workflow.batches import certify_due, run_schedules
from ledger.workflow.certificates import certify
from ledger.workflow.jobs import sweep
from ledger.workflow.policies import Schedule
from tests.ledger.requests.parts import at, days_later, holds
from tests.ledger.story import Story
from tests.ledger.windows.parts import answered, masked

MONDAY = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "now", "called"),
    [
        ({"weekdays": [0], "at": "11:00"}, MONDAY - timedelta(days=1), MONDAY, True),
        ({"weekdays": [0], "at": "13:00"}, MONDAY - timedelta(days=1), MONDAY, False),
        ({"weekdays": [1], "at": "11:00"}, MONDAY - timedelta(days=3), MONDAY, False),
        ({"weekdays": [4], "at": "11:00"}, MONDAY - timedelta(days=4), MONDAY, True),
        ({"weekdays": [0], "at": "11:00"}, MONDAY - timedelta(minutes=30), MONDAY, False),
        ({"everyDays": 3}, MONDAY, MONDAY + timedelta(days=2), False),
        ({"everyDays": 3}, MONDAY, MONDAY + timedelta(days=3), True),
        ({"everyDays": 3}, MONDAY + timedelta(days=3), MONDAY + timedelta(days=5), False),
        ({"everyDays": 3}, MONDAY + timedelta(days=3), MONDAY + timedelta(days=300), True),
    ],
)
def test_when_a_schedule_calls(schedule: dict[str, Any], after: datetime, now: datetime, called: bool) -> None:
    assert Schedule.model_validate(schedule).ran_into(after, MONDAY, now) is called


def test_a_window_is_made_on_time_and_once(story: Story) -> None:
    policies.set_policy(None, {"schedule": {"everyDays": 2, "maxRequests": 2}})
    first, second, third = (story.approved_request() for _ in range(3))
    assert run_schedules() == []
    with days_later(5):  # the ledger was down on the second and the fourth day: one window makes up for both
        (window,) = run_schedules()
        assert run_schedules() == []
    assert set(window.requests.all()) == {first, second}
    window.refresh_from_db()
    assert window.state == "closed"
    with days_later(6.5):
        assert run_schedules() == []  # its turn has come, but the window before is not certified
    models.Window.objects.filter(pk=window.pk).update(state="certified")
    with days_later(6.6):
        assert [one.requests.get() for one in run_schedules()] == [third]


def test_too_few_wait_for_the_next_time_unless_one_is_pressing(story: Story) -> None:
    policies.set_policy(
        story.model.uuid, {"schedule": {"everyDays": 1, "minRequests": 2, "closeDaysBeforeDue": 10}}
    )
    request = story.approved_request()
    with days_later(3):
        assert run_schedules() == []
    with at(request.due_at - timedelta(days=10, seconds=1)):
        assert run_schedules() == []
    with at(request.due_at - timedelta(days=10)):
        (window,) = run_schedules()
    assert window.requests.get() == request
    holds()


def test_nothing_happens_by_itself_without_a_schedule(story: Story) -> None:
    story.approved_request()
    with days_later(400):
        sweep()
    assert not models.Window.objects.exists()


def test_held_requests_and_those_of_other_models_are_left(story: Story) -> None:
    from ledger.workflow import request_steps

    policies.set_policy(None, {"schedule": {"weekdays": [0, 1, 2, 3, 4, 5, 6]}})
    held = story.approved_request()
    request_steps.set_hold(held.uuid, "litigation")
    with days_later(2):
        assert run_schedules() == []
    request_steps.lift_hold(held.uuid, "hold-ended")
    with days_later(4):
        assert [window.requests.get() for window in run_schedules()] == [held]


def test_certificates_come_when_all_have_answered_or_had_their_time(story: Story) -> None:
    policies.set_policy(None, {"certifyDaysAfterDue": 5})
    one, two = story.party("one"), story.party("two")
    window = masked(story)
    answered(story, one, window)
    assert certify_due() == []
    due = window.orders.first().due_at  # type: ignore[union-attr]
    with at(due + timedelta(days=4)):
        assert certify_due() == []
    with at(due + timedelta(days=6)):
        assert certify_due() == [window]
    story.commit(one)
    story.commit(two)
    again = masked(story)
    for party in (one, two):
        answered(story, party, again)
    assert certify_due() == [again]
    holds()


def test_by_hand_if_the_policy_does_not_say(story: Story) -> None:
    party = story.party()
    window = masked(story)
    answered(story, party, window)
    assert certify_due() == []
    assert certify(window.uuid)
    assert timezone.now() < window.orders.get().due_at
