"""Certificates: what was done about each request of a window, and what is not proved."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Literal

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log
from ledger.models import (
    Certificate,
    CircuitRelease,
    ClientModel,
    DeletionRequest,
    Order,
    Suspension,
    VerdictRecord,
    Window,
)
from ledger.statements import coverage, predicates
from ledger.statements.certificate_rules import worst_caught
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import NotOrdered, Outcome, quorum_reached
from ledger.statements.predicates.verdict import Caught
from ledger.statements.predicates.window_outcomes import MOST_LINES
from ledger.statements.predicates.window_policy import WindowPolicy
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.fulfilment import fulfil
from ledger.workflow.lists import log_outcomes, slices
from ledger.workflow.step import exclusive, get_or_refuse, log_own_in_turn

_OPERATOR: Final = (
    "For every order marked met or met-late, the weights that the client committed to in its claim result from its "
    "earlier committed weights and curvature by the unlearning operator under this window's mask, in {where}."
)
_EVERYWHERE: Final = "every chunk that the mask touches"
_SAMPLE: Final = (
    "the chunks that were drawn of those that the mask touches; what that catches, detection and caught say"
)
_ZERO: Final = "In these weights every masked weight is zero; no untouched chunk and no other tensor has changed."
_SAMPLED_ZERO: Final = "No untouched chunk and no other tensor has changed."
_SEQUENCE: Final = (
    "Commitments stand in the log before the mask, the claim before its challenge, that before the proof."
)
PROVES: Final = [_OPERATOR.format(where=_EVERYWHERE), _ZERO, _SEQUENCE]
SAMPLE_PROVES: Final = [_OPERATOR.format(where=_SAMPLE), _SAMPLED_ZERO, _SEQUENCE]
DOES_NOT_PROVE: Final = [
    "That a client deploys the weights it committed to, or has destroyed earlier copies.",
    "That the committed curvature was computed honestly from the client's data.",
    (
        "That the mask removes all influence of the forgotten data: the provider computes it, and what it "
        "achieves is measured, not proved."
    ),
    "Anything about orders marked rejected, unanswered or excepted, nor about clients that got no order.",
]
SAMPLE_DOES_NOT_PROVE: Final = "Anything about touched chunks that were not drawn."
NOT_CONTINUED: Final = (
    "That models marked unlinked, awaited or refuted started from weights in which earlier windows' masks are zero."
)
_MOST_REPEATED: Final = 200  # lines about clients in all certificates of a window together
_BATCH: Final = 500  # certificates in memory at a time
DEVELOPMENT_SRS: Final = (
    "Soundness against whoever made the development SRS: it did not come from a public ceremony."
)


@dataclass(frozen=True)
class _Findings:
    """What all certificates of a window say alike."""

    outcomes: list[Outcome]
    not_ordered: list[NotOrdered]
    policy: WindowPolicy
    verdicts: list[predicates.Verdict]  # accepted ones
    srs: str

    @property
    def complete(self) -> bool:
        return quorum_reached(self.outcomes, self.not_ordered, self.policy.quorum_percent)

    @property
    def sampled(self) -> bool:
        return any(verdict.coverage != coverage.FULL for verdict in self.verdicts)


@exclusive
def certify(window_id: uuid.UUID | str, *, actor: Actor = SYSTEM) -> list[Certificate]:
    """Log one certificate per request of a window whose orders are settled; again: the same certificates.

    Settled means met, rejected, excepted, or past due without an answer. A request is fulfilled when the window's
    quorum was reached and every other model that it concerns was dealt with; otherwise it stays in progress, and
    its certificate says who did not comply. Raises WorkflowError: unknown (404), no mask yet, orders pending (409).
    """
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if window.state == Window.State.CERTIFIED:
        return latest_certificates(window)
    if window.mask_entry is None:
        raise WorkflowError(
            "no-mask",
            _("window %(uuid)s is %(state)s: there is no mask to certify yet")
            % {"uuid": window.uuid, "state": _(window.state)},
        )
    made = _certify_all(window, _findings(window, pending=False))
    window.state = Window.State.CERTIFIED
    window.save()
    events.record("window.certified", actor=actor, window=window.uuid, model=window.model_id)
    fulfil([certificate.request for certificate in made])
    return made


def supplement(window: Window) -> list[Certificate]:
    """Bring the certificates of a certified window up to date: a client has complied after all.

    The caller holds the log's lock. What the earlier certificates say stays in the log.
    """
    made = _certify_all(window, _findings(window, pending=True))
    events.record("window.supplemented", window=window.uuid, model=window.model_id)
    fulfil([certificate.request for certificate in made])
    return made


def latest_certificates(window: Window) -> list[Certificate]:
    """The certificates of a window that no supplement has brought up to date."""
    return list(window.certificates.filter(supplement=None).order_by("entry"))


def _certify_all(window: Window, found: _Findings) -> list[Certificate]:
    """A certificate for each request; many clients are listed once, before the certificates that rest on it."""
    requests = list(window.requests.select_related("filed_entry", "decision_entry").order_by("filed_entry"))
    lines = len(found.outcomes) + len(found.not_ordered)
    alone = lines <= MOST_LINES and lines * len(requests) <= _MOST_REPEATED
    listed = None if alone else log_outcomes(window, found.outcomes, found.not_ordered)
    earlier = {one.request_id: one for one in window.certificates.filter(supplement=None).select_related("entry")}
    made: list[Certificate] = []
    for some in slices(requests, _BATCH):
        entries = log_own_in_turn(_said_of(window, one, earlier.get(one.pk), found, listed) for one in some)
        rows = [
            Certificate(
                request=one, window=window, complete=found.complete, supplements=earlier.get(one.pk), entry=entry
            )
            for one, entry in zip(some, entries, strict=True)
        ]
        made += Certificate.objects.bulk_create(rows)
    return made


def _said_of(
    window: Window, request: DeletionRequest, earlier: Certificate | None, found: _Findings, listed: LogRef | None
) -> predicates.Certificate:
    assert request.decision_entry is not None
    assert window.closed_entry is not None
    assert window.mask_entry is not None
    figures = [verdict.detection for verdict in found.verdicts]
    return predicates.Certificate(
        request=str(request.uuid),
        filed=log.entry_ref(request.filed_entry),
        decision=log.entry_ref(request.decision_entry),
        window=log.entry_ref(window.closed_entry),
        mask=log.entry_ref(window.mask_entry),
        outcomes=found.outcomes if listed is None else [],
        not_ordered=found.not_ordered if listed is None else [],
        outcomes_in=listed,
        quorum_percent=found.policy.quorum_percent,
        complete=found.complete,
        coverage=found.policy.coverage,
        detection=coverage.worst(figures) if figures else None,
        caught=[Caught(chance=level, chunks=chunks) for level, chunks in worst_caught(found.verdicts)],
        supplements=None if earlier is None else log.entry_ref(earlier.entry),
        srs_provenance=found.srs,
        proves=SAMPLE_PROVES if found.sampled else PROVES,
        does_not_prove=[
            *DOES_NOT_PROVE,
            *([SAMPLE_DOES_NOT_PROVE] if found.sampled else []),
            *([NOT_CONTINUED] if _not_continued(found) else []),
            *([DEVELOPMENT_SRS] if found.srs == "development" else []),
        ],
        issued_at=timezone.now(),
    )


def _not_continued(found: _Findings) -> bool:
    """Whether a model has not shown, where it had to, that it kept the zeros of earlier windows."""
    due = {ClientModel.Continuity.UNLINKED, ClientModel.Continuity.AWAITED, ClientModel.Continuity.REFUTED}
    return any(one.continuity in due for one in found.outcomes)


def _findings(window: Window, *, pending: bool) -> _Findings:
    """Look at every order; with `pending`, one that is being answered counts as not answered yet."""
    orders = list(
        window.orders.select_related("client_model__circuit", "entry", "exception_entry").order_by("entry")
    )
    not_ordered = _not_ordered(window)
    verdicts = {order.pk: _last_verdict(order) for order in orders}
    said = [_said(verdict) for verdict in verdicts.values() if verdict is not None and verdict.accepted]
    return _Findings(
        outcomes=[_outcome(order, verdicts[order.pk], pending=pending) for order in orders],
        not_ordered=not_ordered,
        policy=WindowPolicy.model_validate(window.policy),
        verdicts=said,
        srs=_provenance(orders),
    )


def _outcome(order: Order, verdict: VerdictRecord | None, *, pending: bool) -> Outcome:
    return Outcome(
        order=log.entry_ref(order.entry),
        client=str(order.client_model.client_id),
        status=_status(order, verdict, pending=pending),
        verdict=None if verdict is None else log.entry_ref(verdict.entry),
        exception=None if order.exception_entry is None else log.entry_ref(order.exception_entry),
        continuity=order.client_model.continuity,
    )


def _status(
    order: Order, verdict: VerdictRecord | None, *, pending: bool
) -> Literal["met", "met-late", "rejected", "unanswered", "excepted"]:
    if order.state == Order.State.MET:
        assert verdict is not None
        return "met-late" if verdict.proof.claim.is_late else "met"
    if order.state == Order.State.REJECTED:
        return "rejected"
    if order.state == Order.State.EXCEPTED:
        return "excepted"
    if pending or (order.due_at < timezone.now() and order.state in (Order.State.ISSUED, Order.State.CHALLENGED)):
        return "unanswered"
    # Claimed or proved: the next step is the provider's own, so the client must not be blamed.
    raise WorkflowError(
        "order-pending",
        _("order %(uuid)s is %(state)s and due at %(due_at)s: wait for it")
        % {"uuid": order.uuid, "state": _(order.state), "due_at": f"{order.due_at:%Y-%m-%dT%H:%M:%SZ}"},
    )


def _not_ordered(window: Window) -> list[NotOrdered]:
    """Clients that hold the model and were given no order for this mask."""
    assert window.mask_entry is not None
    mask = window.mask_entry.index
    # Suspended when the mask came, with a commitment that would have got an order then.
    suspended = (
        Suspension.objects.filter(
            set_entry__index__lt=mask, client__models__model=window.model, client__models__entry__index__lt=mask
        )
        .exclude(lifted_entry__index__lt=mask)
        .exclude(client__models__orders__window=window)
        .distinct()
    )
    found = {
        str(one.client_id): NotOrdered(
            client=str(one.client_id), reason="suspended", ref=log.entry_ref(one.set_entry)
        )
        for one in suspended.select_related("set_entry")
    }
    late = ClientModel.objects.filter(
        model=window.model, state=ClientModel.State.CURRENT, entry__index__gt=mask
    ).exclude(client__models__orders__window=window)
    for held in late.select_related("entry"):
        client = str(held.client_id)
        found.setdefault(
            client, NotOrdered(client=client, reason="committed-after-mask", ref=log.entry_ref(held.entry))
        )
    return [found[client] for client in sorted(found)]


def _last_verdict(order: Order) -> VerdictRecord | None:
    verdicts = VerdictRecord.objects.filter(proof__claim__order=order).select_related(
        "proof__claim__order", "entry"
    )
    return verdicts.order_by("-entry").first()


def _said(verdict: VerdictRecord) -> predicates.Verdict:
    said = log.statement(verdict.entry).predicate
    assert isinstance(said, predicates.Verdict)
    return said


def _provenance(orders: list[Order]) -> str:
    """`ceremony` only if every circuit in question has such an SRS."""
    releases = {order.client_model.circuit for order in orders} or set(CircuitRelease.objects.all()[:1])
    return "ceremony" if releases and all(r.srs_provenance == "ceremony" for r in releases) else "development"
