"""What happened to a row, step by step, each with the log entry that proves it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils.translation import gettext

from ledger.models import DeletionRequest, Event, Order, Window
from ledger.models.events import KINDS

_STEPS: Final = 200  # the newest ones
#: Members of an event's data that say more than its kind does.
_TELLING: Final = ("reason", "method", "result", "dueAt", "masked", "attempt")


#: Evidence has the story of the order or request that it is about.
_ABOUT: Final = {
    "claim": attrgetter("order"),
    "challenge": attrgetter("claim.order"),
    "proofsubmission": attrgetter("claim.order"),
    "verdictrecord": attrgetter("proof.claim.order"),
    "certificate": attrgetter("request"),
}


def of(row: Any) -> list[dict[str, Any]]:
    """The steps of a row, or of what it is evidence about, oldest first, in one or two queries."""
    about = _ABOUT.get(row._meta.model_name)  # noqa: SLF001 - Django's public name
    if about is not None:
        return of(about(row))
    return [
        {
            "at": event.created_at,
            "words": gettext(KINDS.get(event.kind, event.kind)),
            "who": event.actor_name,
            "more": ", ".join(str(event.data[key]) for key in _TELLING if event.data.get(key)),
            "entry": event.entry,
        }
        for event in reversed(_events(row).select_related("entry").order_by("-id")[:_STEPS])
    ]


def _events(row: Any) -> QuerySet[Event]:
    if isinstance(row, DeletionRequest):
        windows = list(row.windows.values_list("pk", flat=True))
        return Event.objects.filter(Q(request=row.pk) | Q(window__in=windows, order=None, request=None))
    if isinstance(row, Window):
        return Event.objects.filter(window=row.pk)
    if isinstance(row, Order):
        return Event.objects.filter(Q(order=row.pk) | Q(window=row.window_id, order=None, kind="window.masked"))
    return Event.objects.filter(**{_FIELDS[row._meta.model_name]: row.pk})  # noqa: SLF001 - Django's public name


_FIELDS: Final = {"client": "client", "globalmodel": "model"}
