"""What an agent checks about an order before it touches a weight: the provider is verified too.

1. The order speaks of this client, and of what this client committed to.
2. The mask was made after the commitment and before the order, for a window that was closed before it.
3. Mask, window and commitment are about one model; order and commitment are about one circuit release.
4. The mask file is the one the log names, of the size the log says, for a model of this size.
5. The recipe that the log publishes with the mask names that very file by its digest, this model's tensors, this
   circuit's block size, and a budget that the file keeps to.
6. Forget directions, where the mask has some and the circuit release takes them, are the file that the log names:
   of this mask, zero on masked weights, with the release's damping as softness, and not too long to be proved.
7. What the ledger shows of the order is what it logged: its name, its due date.

That every one of these statements is the provider's, and stands in a log whose history only ever grew, is
LedgerClient's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from ledger.statements.predicates import CircuitRelease, Mask, ModelRelease, Order, Predicate, WindowClose
from ledger.statements.predicates.base import LogRef
from prover_worker.directing import expect_provable
from prover_worker.errors import AgentError, ProverError
from prover_worker.layout import Layout
from unlearning.maskfile import parse_mask

Kind = TypeVar("Kind", bound=Predicate)


class Log(Protocol):
    """The part of a LedgerClient that the checks need."""

    def provider_statement(self, ref: LogRef, kind: type[Kind]) -> Kind:
        """A statement of the provider's that the log holds."""

    def download(self, digest: str) -> bytes:
        """A file by its SHA-256."""


@dataclass(frozen=True)
class Committed:
    """What this client has committed to, from its own folder."""

    client: str
    ref: LogRef
    model: ModelRelease
    circuit: CircuitRelease
    layout: Layout


@dataclass(frozen=True)
class CheckedOrder:
    """An order that holds: its statement, its mask's statement, the mask file, and the directions' if it binds."""

    order: Order
    mask: Mask
    mask_file: bytes
    directions_file: bytes | None = None


def checked_order(ledger: Log, shown: Mapping[str, Any], mine: Committed) -> CheckedOrder:
    """All checks of the module's list. Raises AgentError naming the first that fails; nothing was done then."""
    ref = LogRef.model_validate(shown["order"])
    order = ledger.provider_statement(ref, Order)
    _expect_ours(shown, order, mine)
    if not mine.ref.index < order.mask.index < ref.index:
        raise AgentError(f"order {order.order} uses a mask out of sequence: it must follow the commitment")
    mask = ledger.provider_statement(order.mask, Mask)
    _expect_window(ledger, order, mask)
    if ledger.provider_statement(mask.model, ModelRelease) != mine.model:
        raise AgentError(
            f"order {order.order} is for the model at log index {mask.model.index}, which is not the one this "
            "client personalised; nothing was done"
        )
    if ledger.provider_statement(order.circuit, CircuitRelease) != mine.circuit:
        raise AgentError(
            f"order {order.order} names the circuit release at log index {order.circuit.index}, which is not the "
            "one this client committed under; nothing was done"
        )
    data = ledger.download(mask.mask_sha256)
    total, indices = parse_mask(data)
    if total != mine.layout.total or (len(indices), total) != (mask.masked, mask.total):
        raise AgentError(
            f"the mask file masks {len(indices)} of {total} weights; the log says {mask.masked} of "
            f"{mask.total}, and this model has {mine.layout.total}: nothing was done"
        )
    _expect_recipe(mask, mine)
    return CheckedOrder(order, mask, data, _directions(ledger, mask, data, mine))


def _directions(ledger: Log, mask: Mask, mask_file: bytes, mine: Committed) -> bytes | None:
    """The file of forget directions that this order means, if any."""
    if mask.directions_sha256 is None or not mine.circuit.parameters.directions:
        return None
    data = ledger.download(mask.directions_sha256)
    try:
        expect_provable(data, mask_file, mine.circuit.parameters, mine.circuit.table_end)
    except ProverError as error:
        raise AgentError(f"{error}: nothing was done") from error
    return data


def _expect_ours(shown: Mapping[str, Any], order: Order, mine: Committed) -> None:
    if order.order != shown["uuid"]:
        raise AgentError(f"the ledger calls order {order.order} by another name, {shown['uuid']}; tell an auditor")
    if order.client != mine.client or order.commitment != mine.ref:
        raise AgentError(f"order {order.order} is not about what this client committed to; nothing was done")


def _expect_window(ledger: Log, order: Order, mask: Mask) -> None:
    closed = ledger.provider_statement(mask.closed, WindowClose)
    if not closed.window == mask.window == order.window or closed.model != mask.model:
        raise AgentError(
            f"order {order.order} is of window {order.window}, its mask of {mask.window}, and the window that was "
            f"closed is {closed.window}: they must be one window on one model; nothing was done"
        )
    if mask.closed.index >= order.mask.index:
        raise AgentError(f"order {order.order} uses a mask that is older than the close of its window")


def _expect_recipe(mask: Mask, mine: Committed) -> None:
    """The recipe's members that concern a client; a recipe that leaves one out says nothing about it."""
    expected: dict[str, Any] = {
        "maskSha256": mask.mask_sha256,
        "directionsSha256": mask.directions_sha256,
        "targetNames": [target.name for target in mine.model.targets],
        "blockSize": mine.layout.parameters.block_size,
    }
    for name, wanted in expected.items():
        if name in mask.recipe and mask.recipe[name] != wanted:
            raise AgentError(
                f"the mask's recipe has {mask.recipe[name]!r:.200} as its {name}; for this order it must be "
                f"{wanted!r:.200}: nothing was done"
            )
    budget = mask.recipe.get("budget")
    if isinstance(budget, float) and mask.masked > round(budget * mask.total):
        raise AgentError(
            f"the mask has {mask.masked} weights; its recipe allows {budget} of {mask.total}: nothing was done"
        )


def lateness(shown: Mapping[str, Any], now: datetime) -> str | None:
    """A sentence if the order's due date has passed: it is carried out all the same."""
    due = datetime.fromisoformat(shown["dueAt"])
    return f"order {shown['uuid']} was due at {shown['dueAt']}; it is carried out late" if due < now else None
