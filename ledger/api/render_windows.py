"""Windows, orders, policies and models as officers see them."""

from __future__ import annotations

from ledger.api.render import Json, event, job, model, objection, ref, time
from ledger.models import Claim, ClientModel, Event, GlobalModel, Job, Order, Policy, Suspension, Window
from ledger.workflow.policies import effective, parse, policy_row


def window_line(row: Window) -> Json:
    """A window in a list."""
    return {
        "uuid": str(row.uuid),
        "model": str(row.model_id),
        "state": row.state,
        "createdAt": time(row.created_at),
        "closed": ref(row.closed_entry),
        "mask": ref(row.mask_entry),
    }


def window(row: Window) -> Json:
    """A window with its policy, its orders and the progress of all jobs that serve it."""
    orders = list(row.orders.select_related("client_model__client", "entry"))
    claims = Claim.objects.filter(order__in=orders)
    targets = [row.uuid, *(claim.uuid for claim in claims)]
    targets += claims.filter(proof__isnull=False).values_list("proof__uuid", flat=True)
    certificates = row.certificates.select_related("entry").order_by("entry")
    return window_line(row) | {
        "policy": _policy_of(row),
        "maskConfig": row.mask_config,
        "maskSha256": row.mask_sha256 or None,
        "masked": row.masked,
        "requests": [str(request.uuid) for request in row.requests.all()],
        "certificates": [ref(one.entry) for one in certificates.filter(supplement=None)],
        "supplemented": [ref(one.entry) for one in certificates.exclude(supplement=None)],
        "orders": [order_line(order) for order in orders],
        "committedAfterMask": [] if row.mask_entry is None else _latecomers(row),
        "jobs": [job(each) for each in Job.objects.filter(target__in=targets).order_by("created_at")],
        "timeline": [
            event(one) for one in Event.objects.filter(window=row.uuid).select_related("entry").order_by("id")
        ],
    }


def order_line(row: Order) -> Json:
    """An order in a list."""
    client = row.client_model.client
    return {
        "uuid": str(row.uuid),
        "window": str(row.window_id),
        "client": str(client.uuid),
        "clientName": client.name,
        "state": row.state,
        "continuity": row.client_model.continuity,
        "attempt": row.attempt,
        "coverage": row.coverage,
        "dueAt": time(row.due_at),
        "order": ref(row.entry),
        "objection": objection(row),
    }


def order(row: Order) -> Json:
    """An order with its attempts and the steps that were taken against silence. Never its draw's secret."""
    claims = row.claims.select_related("entry", "order").order_by("attempt")
    return order_line(row) | {
        "exception": ref(row.exception_entry),
        "exceptionReason": row.exception_reason or None,
        "attempts": [_attempt(claim) for claim in claims],
        "notices": [{"key": one.key, "at": time(one.created_at)} for one in row.notices.all()],
        "timeline": [
            event(one) for one in Event.objects.filter(order=row.uuid).select_related("entry").order_by("id")
        ],
    }


def suspension(row: Suspension) -> Json:
    """A suspension."""
    return {
        "client": str(row.client_id),
        "reason": row.reason,
        "order": None if row.order_id is None else str(row.order_id),
        "suspended": ref(row.set_entry),
        "lifted": ref(row.lifted_entry),
        "liftReason": row.lift_reason or None,
    }


def policy(row: Policy | None, of: GlobalModel | None) -> Json:
    """A policy as it counts: the model's own, the default, or what is built in."""
    counts = row or (None if of is None else policy_row(of))
    whose = "built-in" if counts is None else "default" if counts.model_id is None else "model"
    return {
        "source": whose,
        "values": parse({} if counts is None else counts.values).json(),
        "updatedAt": None if counts is None else time(counts.updated_at),
    }


def global_model(row: GlobalModel) -> Json:
    """A model with its policy."""
    return model(row) | {
        "name": row.name,
        "retiredReason": row.retired_reason or None,
        "policy": policy(None, row),
        "batchedAt": time(row.batched_at),
    }


def _policy_of(row: Window) -> Json:
    """As logged; while it is open, as it would be."""
    if row.closed_entry_id is not None:
        return dict(row.policy)
    return effective(row.model, row.policy).logged().model_dump(mode="json", by_alias=True)


def _latecomers(row: Window) -> list[str]:
    """Clients whose commitment came after the mask: no order of this window is for them."""
    late = ClientModel.objects.filter(
        model=row.model, state=ClientModel.State.CURRENT, entry__index__gt=row.mask_entry_id
    ).exclude(client__models__orders__window=row)
    return [str(client) for client in late.order_by("entry").values_list("client", flat=True)]


def _attempt(claim: Claim) -> Json:
    verdict = claim.proof.verdict if hasattr(claim, "proof") and hasattr(claim.proof, "verdict") else None
    return {
        "attempt": claim.attempt,
        "claim": ref(claim.entry),
        "late": claim.is_late,
        "challenge": ref(claim.challenge.entry) if hasattr(claim, "challenge") else None,
        "proof": ref(claim.proof.entry) if hasattr(claim, "proof") else None,
        "verdict": None if verdict is None else ref(verdict.entry),
        "accepted": None if verdict is None else verdict.accepted,
        "failures": [] if verdict is None else verdict.failures,
    }
