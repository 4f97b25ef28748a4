"""Lists that take several entries of the log: written before what rests on them, read again for bundles.

What makes them hang together: `ledger.statements.list_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from ledger import log
from ledger.models import Certificate, LogEntry, Window
from ledger.statements import predicates
from ledger.statements.list_rules import Part
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import NotOrdered, Outcome
from ledger.statements.predicates.window_outcomes import MOST_LINES
from ledger.statements.predicates.window_requests import MOST_DECISIONS
from ledger.workflow.step import log_own

Item = TypeVar("Item")


def log_requests(window: Window, decisions: Sequence[LogRef]) -> LogRef:
    """Log the requests of a window that is about to close; returns the last part. The caller logs the window-close
    next.
    """
    previous = None
    for number, some in enumerate(slices(decisions, MOST_DECISIONS), 1):
        said = predicates.WindowRequests(
            window=str(window.uuid),
            model=log.entry_ref(window.model.entry),
            number=number,
            previous=previous,
            decisions=some,
        )
        previous = log.entry_ref(log_own(said))
    assert previous is not None, "a window without requests does not close"
    return previous


def log_outcomes(window: Window, outcomes: Sequence[Outcome], not_ordered: Sequence[NotOrdered]) -> LogRef:
    """Log how a window's orders ended; returns the last part. The caller logs the certificates next."""
    assert window.closed_entry is not None
    assert window.mask_entry is not None
    previous, supplements = None, _last_list(window)
    lines: list[tuple[list[Outcome], list[NotOrdered]]] = [
        *((some, []) for some in slices(outcomes, MOST_LINES)),
        *(([], some) for some in slices(not_ordered, MOST_LINES)),
    ]
    for number, (ordered, others) in enumerate(lines, 1):
        said = predicates.WindowOutcomes(
            window=log.entry_ref(window.closed_entry),
            mask=log.entry_ref(window.mask_entry),
            number=number,
            previous=previous,
            supplements=supplements if number == 1 else None,
            outcomes=ordered,
            not_ordered=others,
        )
        previous = log.entry_ref(log_own(said))
    assert previous is not None, "nobody to name, so nothing to list"
    return previous


def parts(last: LogRef | None) -> Iterator[tuple[int, Part]]:
    """The parts of the list that ends with `last`, by index, from the last one back."""
    while last is not None:
        said = log.statement(LogEntry.objects.get(index=last.index)).predicate
        assert isinstance(said, Part)
        yield last.index, said
        last = said.previous


def slices(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """All items in order, so many at a time."""
    return (list(items[at : at + size]) for at in range(0, len(items), size))


def _last_list(window: Window) -> LogRef | None:
    """The list that the window's latest certificates rest on."""
    latest = window.certificates.select_related("entry").order_by("-entry").first()
    return None if latest is None else outcomes_in(latest)


def outcomes_in(certificate: Certificate) -> LogRef | None:
    """The list that a certificate rests on, if it does not name the clients itself."""
    said = log.statement(certificate.entry).predicate
    assert isinstance(said, predicates.Certificate)
    return said.outcomes_in
