"""Which log entries a bundle holds: what is said about windows and requests, and all that this refers to.

With `size` only what stood in the log at that size counts. References point backwards, so nothing that is counted
refers to something left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.models import Q, QuerySet

from ledger import log
from ledger.models import (
    Certificate,
    Challenge,
    Claim,
    Client,
    ClientKey,
    ClientModel,
    Continuation,
    DeletionRequest,
    GlobalModel,
    IdentityCheck,
    LegalHold,
    LogEntry,
    Objection,
    Order,
    ProofSubmission,
    SubjectAccess,
    Suspension,
    VerdictRecord,
    Window,
)
from ledger.statements.predicates import Certificate as CertificateSaid
from ledger.statements.predicates import KeyRotation, WindowClose, WindowOutcomes
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import NotOrdered
from ledger.workflow.lists import parts

Rows = QuerySet[Any]


def of_windows(windows: Sequence[uuid.UUID], size: int | None = None) -> set[int]:
    """The entries about windows, by index."""
    certificates = Certificate.objects.filter(window__in=windows)
    if size is not None:
        certificates = certificates.filter(entry__lt=size)
    lists, named = _lists_of(certificates)
    late = [one.ref.index for one in named if one.reason == "committed-after-mask"]
    orders = Order.objects.filter(window__in=windows)
    held = ClientModel.objects.filter(Q(orders__in=orders) | Q(entry__in=late)).distinct()
    ordered = Client.objects.filter(models__orders__in=orders)
    suspensions = Suspension.objects.filter(
        Q(client__in=[one.client for one in named]) | Q(client__in=ordered)
    ).distinct()
    found = [
        *_of_masks(windows),
        *_superseded(windows),
        *_ids(certificates, "entry"),
        *lists,
        *_of_orders(orders),
        *_ids(suspensions, "set_entry", "lifted_entry"),
        *_ids(held, "circuit__entry", "entry"),
        *_of_lines(held),
        *_of_keys(held),
    ]
    return _until(found, size)


def of_period(first: int, last: int, size: int | None = None) -> set[int]:
    """The entries about windows that closed, and requests that were filed, between two indices, inclusive."""
    windows = Window.objects.filter(closed_entry__gte=first, closed_entry__lte=last).values_list("pk", flat=True)
    filed = DeletionRequest.objects.filter(filed_entry__gte=first, filed_entry__lte=last)
    found = _until(_of_requests(filed), size)
    return found | of_windows(list(windows), size) if windows or found else set()


def _until(found: Iterable[int], size: int | None) -> set[int]:
    return {index for index in found if size is None or index < size}


def _of_masks(windows: Iterable[uuid.UUID]) -> Iterator[int]:
    """What led to windows' masks: their requests with all that was said about them."""
    rows = Window.objects.filter(pk__in=list(windows))
    yield from _ids(rows, "model__entry", "closed_entry", "mask_entry")
    for entry in LogEntry.objects.filter(index__in=rows.exclude(closed_entry=None).values("closed_entry")):
        closed = log.statement(entry).predicate
        assert isinstance(closed, WindowClose)
        yield from (index for index, _ in parts(closed.requests_in))
    yield from _of_requests(DeletionRequest.objects.filter(windows__in=rows).distinct())


def _of_requests(requests: QuerySet[DeletionRequest]) -> Iterator[int]:
    """A request's own entries. That it was fulfilled is about windows on all of its models, and not among them."""
    yield from _ids(
        requests, "filed_entry", "decision_entry", "closure_entry", "erased_entry", "acknowledged_entry",
        "extension_entry",
    )  # fmt: skip
    yield from _ids(IdentityCheck.objects.filter(request__in=requests), "entry")
    yield from _ids(LegalHold.objects.filter(request__in=requests), "set_entry", "lifted_entry")
    yield from _ids(SubjectAccess.objects.filter(request__in=requests), "entry")


def _superseded(windows: Sequence[uuid.UUID]) -> Iterator[int]:
    """Releases that the windows' models supersede."""
    models = GlobalModel.objects.filter(windows__in=windows).distinct()
    while models:
        yield from _ids(models, "supersedes__entry")
        models = GlobalModel.objects.filter(pk__in=[one.supersedes_id for one in models if one.supersedes_id])


def _of_orders(orders: QuerySet[Order]) -> Iterator[int]:
    yield from _ids(orders, "entry", "exception_entry")
    yield from _ids(Objection.objects.filter(order__in=orders), "entry")
    yield from _ids(Claim.objects.filter(order__in=orders), "entry")
    yield from _ids(Challenge.objects.filter(claim__order__in=orders), "entry")
    yield from _ids(ProofSubmission.objects.filter(claim__order__in=orders), "entry")
    yield from _ids(VerdictRecord.objects.filter(proof__claim__order__in=orders), "entry")


def _of_lines(held: QuerySet[ClientModel]) -> Iterator[int]:
    """How models showed that they continue unlearned ones, and the earlier masks that this was about."""
    shown = Continuation.objects.filter(client_model__in=held)
    yield from _ids(shown, "challenge_entry", "proof_entry", "verdict_entry")
    earlier: set[uuid.UUID] = set()
    for one in held.filter(continuation__isnull=False):
        before = VerdictRecord.objects.filter(
            accepted=True,
            entry__lt=one.entry_id,
            proof__claim__order__client_model__client=one.client_id,
            proof__claim__order__client_model__model=one.model_id,
        )
        earlier |= set(before.values_list("proof__claim__order__window", flat=True))
    if earlier:
        yield from _of_masks(earlier)


def _of_keys(held: QuerySet[ClientModel]) -> Iterator[int]:
    """Every rotation of the provider's and the log's key, and all that came and went of the clients concerned."""
    yield from LogEntry.objects.filter(predicate_type=KeyRotation.type_uri()).values_list("index", flat=True)
    found = ClientKey.objects.filter(client__in=held.values("client"))
    yield from _ids(found, "enrolled_entry", "revoked_entry")


def _lists_of(certificates: QuerySet[Certificate]) -> tuple[set[int], list[NotOrdered]]:
    """The lists that certificates rest on, by index, and the clients named as those without an order."""
    named: list[NotOrdered] = []
    last: dict[int, LogRef] = {}
    for one in certificates.select_related("entry").iterator(500):
        said = log.statement(one.entry).predicate
        assert isinstance(said, CertificateSaid)
        named += said.not_ordered
        if said.outcomes_in is not None:
            last[said.outcomes_in.index] = said.outcomes_in
    found = [part for ref in last.values() for part in parts(ref)]
    named += [one for _, part in found if isinstance(part, WindowOutcomes) for one in part.not_ordered]
    return {index for index, _ in found}, named


def _ids(rows: Rows, *fields: str) -> Iterator[int]:
    """The entries that rows point at, by index."""
    for row in rows.order_by().values_list(*fields):
        yield from (index for index in row if index is not None)
