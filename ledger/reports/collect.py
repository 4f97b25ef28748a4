"""From the ledger's tables and statements to a report. Reads only, in one snapshot of the database.

Rows are read in batches, so a report needs memory for what it says and not for the files and statements that it is
made from.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from ledger import keys, log, publication, vault
from ledger import models as m
from ledger.reports import schema
from ledger.reports.errors import ReportError
from ledger.reports.metrics import metrics
from ledger.statements import predicates
from ledger.statements.predicates.window_policy import WindowPolicy
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import get_or_refuse

logger = logging.getLogger(__name__)

BATCH: Final = 500
Row = TypeVar("Row", bound=models.Model)


def collect(report_id: uuid.UUID | str, about: schema.About, *, personal_data: bool = False) -> schema.Report:
    """The report about a request, a window, a client or a period.

    `personal_data` adds who asked, unsealed; the caller has checked that this is allowed. Raises WorkflowError:
    unknown (404), no published head of the log yet (409); ReportError for a scope without what it needs.
    """
    _publish()
    with transaction.atomic():
        _freeze()
        return _collect(str(report_id), about, personal_data)


def _publish() -> None:
    """Have a head that covers what is logged so far, if witnesses agree now; else the last one has to do."""
    publication.try_to_publish()
    try:
        log.publish_checkpoint()
    except log.NotCosignedError as error:
        logger.info("the report stands under the last published head: %s", error)


def _freeze() -> None:
    """Everything from here on is read as of one moment, unless a caller's transaction has read already."""
    if not connection.savepoint_ids:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _collect(report_id: str, about: schema.About, personal_data: bool) -> schema.Report:
    now = timezone.now()
    requests, windows, orders = _rows(about)
    certificates = _certificates_of(about, requests, windows)
    sentences: dict[str, str] = {}
    said = [_certificate(row, sentences) for row in _each(certificates, "entry_id", "entry", "supplement")]
    lean = requests.defer(*(f"{name}__envelope" for name in _REQUEST_ENTRIES if name != "subject"))
    found = [_request(row, personal_data) for row in _each(lean, "filed_entry_id", *_REQUEST_ENTRIES)]
    counted = windows.annotate(number=Count("requests"))
    window_rows = list(_each(counted, "closed_entry_id", "model", "closed_entry", "mask_entry"))
    order_rows = _orders(orders, named=about.scope != "request")
    return schema.Report(
        report=report_id,
        about=_named(about),
        made_at=now,
        personal_data=personal_data,
        log=_head(),
        metrics=metrics(found, {one.request for one in said}, now) if about.scope == "period" else [],
        requests=found,
        windows=[_window(row) for row in window_rows],
        orders=order_rows,
        certificates=said,
        timeline=_timeline(about, found, window_rows, order_rows, said),
    )


def _rows(about: schema.About) -> tuple[QuerySet[m.DeletionRequest], QuerySet[m.Window], QuerySet[m.Order]]:
    """Which requests, windows and orders the report is about."""
    requests, windows, orders = m.DeletionRequest.objects.all(), m.Window.objects.all(), m.Order.objects.all()
    match about.scope:
        case "request":
            request = get_or_refuse(requests, "request", uuid=_id(about))
            ours = windows.filter(requests=request)
            return requests.filter(pk=request.pk), ours, orders.filter(window__in=ours)
        case "window":
            window = get_or_refuse(windows, "window", uuid=_id(about))
            return requests.filter(windows=window), windows.filter(pk=window.pk), orders.filter(window=window)
        case "client":
            client = get_or_refuse(m.Client.objects.all(), "client", uuid=_id(about))
            ordered = orders.filter(client_model__client=client)
            return requests.none(), windows.filter(pk__in=ordered.values("window")), ordered
    if about.since is None or about.until is None or about.since >= about.until:
        raise ReportError("a period has a beginning and, after it, an end: give both `since` and `until`")
    received = requests.filter(received_at__gte=about.since, received_at__lt=about.until)
    ours = windows.filter(requests__in=received.values("pk")).distinct()
    return received, m.Window.objects.filter(pk__in=ours.values("pk")), orders.none()


def _id(about: schema.About) -> uuid.UUID:
    if about.id is None:
        raise ReportError(f"a report on a {about.scope} needs its UUID")
    return uuid.UUID(about.id)


def _certificates_of(
    about: schema.About, requests: QuerySet[m.DeletionRequest], windows: QuerySet[m.Window]
) -> QuerySet[m.Certificate]:
    if about.scope == "client":
        return m.Certificate.objects.filter(window__in=windows)
    return m.Certificate.objects.filter(request__in=requests.values("pk"), window__in=windows.values("pk"))


def _each(rows: QuerySet[Row], order: str, *with_: str) -> Iterator[Row]:
    """Rows as the log has them: the tables of a report are read beside it."""
    return rows.select_related(*with_).order_by(order, "pk").iterator(BATCH)


def _named(about: schema.About) -> schema.About:
    """With the name of the client or of the window's model."""
    if about.scope == "client":
        return about.model_copy(update={"name": m.Client.objects.get(uuid=_id(about)).name})
    if about.scope == "window":
        return about.model_copy(update={"name": m.Window.objects.get(uuid=_id(about)).model.name})
    return about


def _head() -> schema.Log:
    head = log.latest_checkpoint()
    if head is None:
        raise WorkflowError("not-published", "the log has no published checkpoint yet: try again in a minute")
    return schema.Log(
        origin=settings.LEDGER_ORIGIN,
        vkey=keys.root_vkey(),
        provider_key=keys.root_ring().provider,
        size=head.size,
        root=bytes(head.root).hex(),
        checkpoint=head.note,
    )


_REQUEST_ENTRIES = (
    "subject", "acknowledged_entry", "decision_entry", "closure_entry", "fulfilled_entry",
)  # fmt: skip


def _request(row: m.DeletionRequest, personal_data: bool) -> schema.Request:
    answered = _answered_at(row)
    decided = None if row.decision_entry is None else row.decision_entry.created_at
    denied = row.state == m.DeletionRequest.State.DENIED
    return schema.Request(
        request=str(row.uuid),
        regulation=row.regulation,
        state=row.state,
        received_at=row.received_at,
        due_at=row.due_at,
        acknowledge_by=row.acknowledge_by,
        acknowledged_at=_at(row.acknowledged_entry),
        extended=row.extension_entry_id is not None,
        extension_reason=row.extension_reason,
        notified_at=row.notified_at,
        decision=None if decided is None else "denied" if denied else "approved",
        decision_reason=row.decision_reason,
        decided_at=decided,
        closure_reason=row.closure_reason,
        answered_at=answered,
        days=None if answered is None else round((answered - row.received_at).total_seconds() / 86400, 2),
        in_time=None if answered is None else answered <= row.due_at,
        filed_entry=row.filed_entry_id,
        decision_entry=row.decision_entry_id,
        fulfilled_entry=row.fulfilled_entry_id,
        erased_entry=row.erased_entry_id,
        acknowledged_entry=row.acknowledged_entry_id,
        extension_entry=row.extension_entry_id,
        closure_entry=row.closure_entry_id,
        held=row.held,
        subject=vault.unseal(row.subject)["subject"] if personal_data and row.subject.erased_at is None else None,
    )


def _answered_at(row: m.DeletionRequest) -> datetime | None:
    """When the person's request was done with, one way or the other."""
    states = m.DeletionRequest.State
    if row.state == states.DENIED:
        return _at(row.decision_entry)
    return _at(row.fulfilled_entry) or _at(row.closure_entry)


def _at(entry: m.LogEntry | None) -> datetime | None:
    return None if entry is None else entry.created_at


def _window(row: Any) -> schema.Window:
    policy = None if row.closed_entry is None else WindowPolicy.model_validate(row.policy)
    states = row.orders.values_list("state").annotate(n=Count("pk")).order_by("state")
    return schema.Window(
        window=str(row.uuid),
        model=row.model.name,
        state=row.state,
        requests=row.number,
        closed_at=_at(row.closed_entry),
        masked_at=_at(row.mask_entry),
        mask_sha256=row.mask_sha256,
        masked_weights=row.masked,
        total_weights=row.model.total_weights,
        coverage="" if policy is None else policy.coverage,
        quorum_percent=None if policy is None else policy.quorum_percent,
        orders=dict(states),
        closed_entry=row.closed_entry_id,
        mask_entry=row.mask_entry_id,
    )


def _orders(orders: QuerySet[m.Order], *, named: bool) -> list[schema.Order]:
    """By client; each with its last claim and verdict. Not `named`, clients have their UUID only, as in the log,
    and not even their order tells how they are called.
    """
    made: list[schema.Order] = []
    batch: list[m.Order] = []
    rows = orders.select_related("client_model__client", "client_model__circuit").order_by(
        "client_model__client__name" if named else "client_model__client__uuid", "entry"
    )
    for row in rows.iterator(BATCH):
        batch.append(row)
        if len(batch) == BATCH:
            made += _with_verdicts(batch, named=named)
            batch = []
    return [*made, *_with_verdicts(batch, named=named)]


def _with_verdicts(orders: list[m.Order], *, named: bool) -> Iterator[schema.Order]:
    claims: dict[uuid.UUID, m.Claim] = {}
    made = m.Claim.objects.filter(order__in=[one.pk for one in orders]).select_related("entry", "order")
    for claim in made.defer("entry__envelope"):
        if claim.order_id not in claims or claim.attempt > claims[claim.order_id].attempt:
            claims[claim.order_id] = claim
    verdicts = {
        one.proof.claim_id: one
        for one in m.VerdictRecord.objects.filter(proof__claim__in=[claim.pk for claim in claims.values()])
        .select_related("entry", "proof")
    }  # fmt: skip
    for order in orders:
        found = claims.get(order.pk)
        yield _order(order, found, None if found is None else verdicts.get(found.pk), named=named)


def _order(row: m.Order, claim: m.Claim | None, record: m.VerdictRecord | None, *, named: bool) -> schema.Order:
    said = None if record is None else log.statement(record.entry).predicate
    assert said is None or isinstance(said, predicates.Verdict)
    return schema.Order(
        order=str(row.uuid),
        window=str(row.window_id),
        client=str(row.client_model.client_id),
        client_name=row.client_model.client.name if named else "",
        state=row.state,
        attempts=row.attempt,
        coverage=row.coverage if said is None else said.coverage,
        due_at=row.due_at,
        claimed_at=None if claim is None else claim.entry.created_at,
        late=claim is not None and claim.is_late,
        result=None if said is None else said.result,
        verdict_at=None if record is None else record.entry.created_at,
        touched_chunks=None if said is None else said.touched_chunks,
        proved_chunks=None if said is None else said.proved_chunks,
        failed_chunks=None if said is None else said.failed_chunks,
        detection=None if said is None else said.detection,
        bundle_sha256=None if said is None else said.bundle_sha256,
        srs_provenance=row.client_model.circuit.srs_provenance,
        exception_reason=row.exception_reason,
        order_entry=row.entry_id,
        verdict_entry=None if record is None else record.entry_id,
    )


def _certificate(row: m.Certificate, sentences: dict[str, str]) -> schema.Certificate:
    """`sentences`: those of earlier certificates, which mostly say the same; each is held once."""
    said = log.statement(row.entry).predicate
    assert isinstance(said, predicates.Certificate)
    return schema.Certificate(
        request=str(row.request_id),
        window=str(row.window_id),
        entry=row.entry_id,
        issued_at=said.issued_at,
        complete=row.complete,
        quorum_percent=said.quorum_percent,
        coverage=said.coverage,
        detection=said.detection,
        srs_provenance=said.srs_provenance,
        current=not hasattr(row, "supplement"),
        proves=[sentences.setdefault(one, one) for one in said.proves],
        does_not_prove=[sentences.setdefault(one, one) for one in said.does_not_prove],
    )


def _timeline(
    about: schema.About,
    requests: Iterable[schema.Request],
    windows: Iterable[m.Window],
    orders: Iterable[schema.Order],
    certificates: Iterable[schema.Certificate],
) -> list[schema.Event]:
    """What happened, oldest first. A period's requests are counted by its metrics instead."""
    if about.scope == "period":
        return []
    steps: list[tuple[int | None, str]] = []
    for request in requests:
        steps += [
            (request.filed_entry, "request filed"),
            (request.acknowledged_entry, "receipt confirmed"),
            (request.extension_entry, "time extended"),
            (request.decision_entry, f"request {request.decision}"),
            (request.closure_entry, f"request {request.state}"),
            (request.fulfilled_entry, "request fulfilled"),
            (request.erased_entry, "personal data erased"),
        ]
    for window in windows:
        steps += [(window.closed_entry_id, "window closed"), (window.mask_entry_id, "mask published")]
    for order in orders:
        steps += [(order.order_entry, "client ordered"), (order.verdict_entry, f"proof {order.result}")]
    steps += [(one.entry, "certificate issued") for one in certificates]
    entries = {index: what for index, what in steps if index is not None}
    return [
        schema.Event(at=at, what=entries[index], entry=index)
        for some in _batched(sorted(entries), BATCH)
        for index, at in _times(some)
    ]


def _times(entries: list[int]) -> QuerySet[m.LogEntry, tuple[int, datetime]]:
    return m.LogEntry.objects.filter(index__in=entries).order_by("index").values_list("index", "created_at")


def _batched(items: list[int], number: int) -> Iterator[list[int]]:
    """So many at a time: a question about ten thousand entries at once takes more memory than their answers."""
    return (items[at : at + number] for at in range(0, len(items), number))
