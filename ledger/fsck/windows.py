"""What the log makes of windows, orders and what follows from them: the part of `tables` about these."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping
from functools import singledispatch
from typing import Any
from uuid import UUID

from django.db import models

from ledger import models as m
from ledger.fsck.errors import FsckError
from ledger.statements import predicates as said
from ledger.statements.list_rules import decisions_of
from ledger.statements.predicates import Predicate
from ledger.statements.story import Story
from ledger.statements.window_rules import policy_of
from ledger.tlog.checkpoint import Checkpoint

Row = dict[str, Any]
Rows = defaultdict[type[models.Model], dict[Hashable, Row]]
#: The statements that this module knows.
Kinds = (
    said.WindowClose | said.Mask | said.Order | said.OrderException | said.Claim | said.Challenge | said.Proof
    | said.Verdict | said.Certificate | said.RequestFulfilment | said.ClientSuspension | said.ModelRetirement
    | said.WindowRequests | said.WindowOutcomes
)  # fmt: skip
_OVER = frozenset({m.Order.State.MET, m.Order.State.REJECTED, m.Order.State.EXCEPTED})


@singledispatch
def apply(predicate: Predicate, _rows: Rows, _index: int, _story: Story) -> None:
    """Let entry `index`, which may follow `story`, change the rows."""
    raise AssertionError(f"{predicate.slug} is not about windows")


def check(rows: Mapping[type[models.Model], Mapping[Hashable, Row]]) -> None:
    """What no column by itself shows: who is in a window, data sets, secrets. Raises FsckError."""
    logged = {(window, request) for window, row in rows[m.Window].items() for request in row["requests"]}
    closed = m.Window.objects.exclude(closed_entry=None)
    stored = {pair for pair in closed.values_list("pk", "requests") if pair[1] is not None}
    for window, request in sorted(logged ^ stored, key=str):
        where = "in the log" if (window, request) in logged else "stored"
        raise FsckError(f"request {request} is in window {window} only as {where}")
    for index, dataset in m.GlobalModel.objects.values_list("entry_id", "dataset"):
        wanted = rows[m.GlobalModel][index]["dataset"]
        if wanted not in (None, dataset):
            raise FsckError(f"the global model {index} has dataset {dataset!r}, the log makes it {wanted!r}")
    for name, digest, secret in m.Order.objects.exclude(draw_sha256="").values_list(
        "pk", "draw_sha256", "draw_secret"
    ):
        if hashlib.sha256(bytes.fromhex(secret)).hexdigest() != digest:
            raise FsckError(f"the draw secret of order {name} is not the one that the log is bound to")


@apply.register
def _(it: said.WindowClose, rows: Rows, index: int, story: Story) -> None:
    refs = decisions_of(it, story, index)
    decisions = [story.get(ref, said.RequestDecision, f"window {index}") for ref in refs]
    rows[m.Window][UUID(it.window)] = {
        "model__entry_id": it.model.index,
        "closed_entry_id": index,
        "policy": {} if it.policy is None else policy_of(it).model_dump(mode="json", by_alias=True),
        "mask_entry_id": None,
        "mask_sha256": "",
        "masked": None,
        "state": m.Window.State.CLOSED,
        "requests": [UUID(decision.request) for decision in decisions],
    }


@apply.register
def _(_it: said.WindowRequests | said.WindowOutcomes, _rows: Rows, _index: int, _story: Story) -> None:
    """Parts of lists: the rows come with the window-close and the certificates that rest on them."""


@apply.register
def _(it: said.Mask, rows: Rows, index: int, _story: Story) -> None:
    rows[m.Window][UUID(it.window)].update(
        mask_entry_id=index, mask_sha256=it.mask_sha256, masked=it.masked, state=m.Window.State.MASKED
    )


@apply.register
def _(it: said.Order, rows: Rows, index: int, _story: Story) -> None:
    rows[m.Order][UUID(it.order)] = {
        "entry_id": index,
        "window_id": UUID(it.window),
        "client_model__entry_id": it.commitment.index,
        "due_at": it.due_at,
        "coverage": it.coverage,
        "draw_sha256": it.draw_sha256 or "",
        "state": m.Order.State.ISSUED,
        "attempt": 0,
        "exception_entry_id": None,
        "exception_reason": "",
    }


@apply.register
def _(it: said.OrderException, rows: Rows, index: int, story: Story) -> None:
    order = rows[m.Order][UUID(story.get(it.order, said.Order, f"exception {index}").order)]
    order.update(state=m.Order.State.EXCEPTED, exception_entry_id=index, exception_reason=it.reason)
    _settle(rows, order["window_id"], story)


@apply.register
def _(it: said.Claim, rows: Rows, index: int, story: Story) -> None:
    order = story.get(it.order, said.Order, f"claim {index}")
    rows[m.Order][UUID(order.order)].update(state=m.Order.State.CLAIMED, attempt=it.attempt)
    window = rows[m.Window][UUID(order.window)]
    if window["state"] == m.Window.State.SETTLED:
        window["state"] = m.Window.State.MASKED
    rows[m.Claim][index] = {
        "order_id": UUID(order.order),
        "attempt": it.attempt,
        "weights_sha256": it.weights_sha256,
        "solution_sha256": it.solution_sha256,
        "other_tensors_sha256": it.other_tensors_sha256,
    }


@apply.register
def _(it: said.Challenge, rows: Rows, index: int, story: Story) -> None:
    _order_of(rows, story, it.claim.index)["state"] = m.Order.State.CHALLENGED
    size = Checkpoint.parse(it.checkpoint.rsplit("\n\n", 1)[0] + "\n").size
    rows[m.Challenge][index] = {"claim__entry_id": it.claim.index, "checkpoint_id": size}


@apply.register
def _(it: said.Proof, rows: Rows, index: int, story: Story) -> None:
    _order_of(rows, story, it.claim.index)["state"] = m.Order.State.PROVED
    rows[m.ProofSubmission][index] = {"claim__entry_id": it.claim.index, "bundle_sha256": it.bundle_sha256}


@apply.register
def _(it: said.Verdict, rows: Rows, index: int, story: Story) -> None:
    order, accepted = _order_of(rows, story, it.claim.index), it.result == "accepted"
    rows[m.VerdictRecord][index] = {
        "proof__entry_id": it.proof.index,
        "accepted": accepted,
        "failures": [failure.model_dump(by_alias=True) for failure in it.failures],
    }
    order["state"] = m.Order.State.MET if accepted else m.Order.State.REJECTED
    if accepted:
        held = rows[m.ClientModel][order["client_model__entry_id"]]
        held.update(state=m.ClientModel.State.SUPERSEDED, unlearned_by__entry_id=it.claim.index)
    _settle(rows, order["window_id"], story)


@apply.register
def _(it: said.Certificate, rows: Rows, index: int, story: Story) -> None:
    mask = story.get(it.mask, said.Mask, f"certificate {index}")
    rows[m.Certificate][index] = {
        "request_id": UUID(it.request),
        "window_id": UUID(mask.window),
        "complete": it.is_complete,
        "supplements__entry_id": None if it.supplements is None else it.supplements.index,
    }
    rows[m.Window][UUID(mask.window)]["state"] = m.Window.State.CERTIFIED
    if it.complete is None and it.is_complete:  # from before fulfilments were statements of their own
        rows[m.DeletionRequest][UUID(it.request)]["state"] = m.DeletionRequest.State.FULFILLED


@apply.register
def _(it: said.RequestFulfilment, rows: Rows, index: int, _story: Story) -> None:
    rows[m.DeletionRequest][UUID(it.request)].update(
        state=m.DeletionRequest.State.FULFILLED, fulfilled_entry_id=index
    )


@apply.register
def _(it: said.ClientSuspension, rows: Rows, index: int, _story: Story) -> None:
    client = UUID(it.client)
    if it.action == "suspend":
        rows[m.Suspension][index] = {
            "client_id": client, "reason": it.reason, "lifted_entry_id": None, "lift_reason": "",
        }  # fmt: skip
        return
    current = [row for row in rows[m.Suspension].values() if row["client_id"] == client]
    current[-1].update(lifted_entry_id=index, lift_reason=it.reason)


@apply.register
def _(it: said.ModelRetirement, rows: Rows, index: int, _story: Story) -> None:
    rows[m.GlobalModel][it.model.index].update(retired_entry_id=index, retired_reason=it.reason)


def _settle(rows: Rows, window_id: UUID, story: Story) -> None:
    """All orders over: a masked window is settled."""
    orders = (story.statements[i] for i in story.orders[str(window_id)])
    states = {rows[m.Order][UUID(one.order)]["state"] for one in orders if isinstance(one, said.Order)}
    if rows[m.Window][window_id]["state"] == m.Window.State.MASKED and states <= _OVER:
        rows[m.Window][window_id]["state"] = m.Window.State.SETTLED


def _order_of(rows: Rows, story: Story, claim: int) -> Row:
    """The row of the order that a claim is about."""
    said_claim = story.statements[claim]
    assert isinstance(said_claim, said.Claim), "the rules let nothing else pass"
    order = story.get(said_claim.order, said.Order, f"claim {claim}")
    return rows[m.Order][UUID(order.order)]
