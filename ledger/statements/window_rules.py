"""What may be said about windows and orders: the part of `ledger.statements.rules` about policies.

- an order has the coverage that its window's policy asks for, and is not given to a suspended client;
- suspension and lift of a client follow each other, numbered;
- an order is excepted once, and not once it was met; nothing is claimed or proved under an excepted one;
- a model is retired once, with no window waiting for certificates, and no window on it closes afterwards;
- a request is fulfilled when every model that it concerns has a complete certificate or is retired.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ledger.statements.errors import RuleError, same_value
from ledger.statements.predicates import (
    Certificate,
    Challenge,
    ClientSuspension,
    Mask,
    ModelRelease,
    ModelRetirement,
    Order,
    OrderException,
    Predicate,
    RequestDecision,
    RequestFulfilment,
    Verdict,
    WindowClose,
)
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.window_policy import WindowPolicy

if TYPE_CHECKING:
    from ledger.statements.story import Story


#: What `Windows` takes note of.
NOTED: Final = frozenset(
    {ClientSuspension, OrderException, Challenge, WindowClose, Certificate, ModelRelease, ModelRetirement}
)
_NO_POLICY: Final = WindowPolicy()


@dataclass
class Windows:
    """What these rules need to know of the statements so far."""

    suspensions: defaultdict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    exceptions: dict[int, int] = field(default_factory=dict)  # by order
    claimed_at: dict[int, Challenge] = field(default_factory=dict)  # challenge by claim
    certificates: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # by request
    retired: dict[int, int] = field(default_factory=dict)  # by model release
    releases: list[int] = field(default_factory=list)
    uncertified: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))  # closes by model

    def add(self, index: int, predicate: Predicate) -> None:
        """Take entry `index`, which the rules have let pass."""
        match predicate:
            case ClientSuspension():
                self.suspensions[predicate.client].append((index, predicate.action))
            case OrderException():
                self.exceptions[predicate.order.index] = index
            case Challenge():
                self.claimed_at[predicate.claim.index] = predicate
            case WindowClose():
                self.uncertified[predicate.model.index].add(index)
            case Certificate():
                self.certificates[predicate.request].append(index)
                for waiting in self.uncertified.values():
                    waiting.discard(predicate.window.index)
            case ModelRelease():
                self.releases.append(index)
            case ModelRetirement():
                self.retired[predicate.model.index] = index

    def suspended(self, client: str, before: int) -> int | None:
        """The suspension that a client is under at `before`, by index."""
        known = [(index, action) for index, action in self.suspensions.get(client, ()) if index < before]
        return known[-1][0] if known and known[-1][1] == "suspend" else None


def policy_of(closed: WindowClose) -> WindowPolicy:
    """The policy of a closed window."""
    return closed.policy or _NO_POLICY


def check_close(said: WindowClose, story: Story, index: int) -> None:
    """No window on a retired model. Raises RuleError."""
    if said.model.index in story.windows.retired:
        raise RuleError(
            f"window {index} is on the model of entry {said.model.index}, which was retired by entry "
            f"{story.windows.retired[said.model.index]}"
        )


def check_order(order: Order, story: Story, index: int) -> None:
    """An order is as its window's policy says, and its client not suspended. Raises RuleError."""
    by = f"order {index}"
    closed = story.get(story.get(order.mask, Mask, by).closed, WindowClose, by)
    same_value(order.coverage, policy_of(closed).coverage, f"{by}: coverage")
    suspended = story.windows.suspended(order.client, index)
    if suspended is not None:
        raise RuleError(f"{by} is given to client {order.client}, which entry {suspended} has suspended")


def refuse_excepted(order: LogRef, story: Story, by: str) -> None:
    """Raise RuleError if an order was excepted."""
    if order.index in story.windows.exceptions:
        raise RuleError(f"{by} follows the exception of its order, entry {story.windows.exceptions[order.index]}")


def check_exception(said: OrderException, story: Story, index: int) -> None:
    """Raise RuleError unless the order is this client's and not met."""
    by = f"exception {index}"
    order = story.get(said.order, Order, by)
    same_value(said.client, order.client, f"{by}: client")
    last = last_verdict(story, said.order.index)
    if last is not None and last.result == "accepted":
        raise RuleError(f"{by} is about order {said.order.index}, which was met")


def check_suspension(said: ClientSuspension, story: Story, index: int) -> None:
    """Suspension and lift take turns. Raises RuleError."""
    by = f"suspension {index}"
    known = story.windows.suspensions[said.client]
    same_value(said.number, len(known) + 1, f"{by}: number")
    if (said.action == "suspend") == (story.windows.suspended(said.client, index) is not None):
        raise RuleError(f"{by} is a {said.action}, but client {said.client} is in that state already")


def check_retirement(said: ModelRetirement, story: Story, index: int) -> None:
    """Raise RuleError while a window of the model waits for its certificates."""
    story.get(said.model, ModelRelease, f"retirement {index}")
    waiting = story.windows.uncertified[said.model.index]
    if waiting:
        raise RuleError(f"retirement {index}: window {min(waiting)} of the model is not certified")


def check_fulfilment(said: RequestFulfilment, story: Story, index: int) -> None:
    """Raise RuleError unless every model concerned has a complete certificate of this request, or is retired."""
    by = f"fulfilment {index}"
    decision = story.get(said.decision, RequestDecision, by)
    same_value(decision.request, said.request, f"{by}: request of its decision")
    covered: set[int] = set()
    for ref in said.certificates:
        certificate = story.get(ref, Certificate, by)
        same_value(certificate.request, said.request, f"{by}: request of certificate {ref.index}")
        if not certificate.is_complete:
            raise RuleError(f"{by} counts certificate {ref.index}, which is not complete")
        covered.add(story.get(certificate.mask, Mask, by).model.index)
    retired = {story.get(ref, ModelRetirement, by).model.index for ref in said.retirements}
    dealt_with = covered | retired
    if not dealt_with:
        raise RuleError(f"{by} names neither a certificate nor a retirement")
    left = sorted(_concerned(said, dealt_with, story) - dealt_with)
    if left:
        raise RuleError(f"{by} leaves out the model of entry {left[0]}, which the request concerns")


def _concerned(said: RequestFulfilment, dealt_with: set[int], story: Story) -> set[int]:
    """Releases of the same data set before the decision, but for those that were retired before it."""
    datasets = {_release(story, index).dataset for index in dealt_with} - {None}
    return {
        index
        for index in story.windows.releases
        if index < said.decision.index
        and _release(story, index).dataset in datasets
        and not story.windows.retired.get(index, said.decision.index) < said.decision.index
    }


def _release(story: Story, index: int) -> ModelRelease:
    release = story.statements[index]
    assert isinstance(release, ModelRelease), "only releases are noted there"
    return release


def last_verdict(story: Story, order: int) -> Verdict | None:
    """The last verdict on an order, by index; None before there is one."""
    verdicts = story.verdicts[order]
    last = story.statements[verdicts[-1]] if verdicts else None
    assert last is None or isinstance(last, Verdict)
    return last
