"""What a certificate may say: the part of `ledger.statements.rules` about these.

- it is about one request of its window, and names exactly the window's orders, each once with its client, itself or
  in a list (`ledger.statements.list_rules`);
- it says of each order what verdicts, exceptions and due dates say, names suspended clients as such, and calls
  itself complete exactly when its window's quorum was reached;
- a supplement refers to the last certificate of the same request and window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.statements import coverage, line_rules
from ledger.statements.errors import PolicyError, RuleError, same_value
from ledger.statements.predicates import (
    Certificate,
    ClientSuspension,
    DeletionRequest,
    Mask,
    ModelCommitment,
    Order,
    OrderException,
    RequestDecision,
    Verdict,
    WindowClose,
)
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import NotOrdered, Outcome, quorum_reached
from ledger.statements.window_rules import last_verdict, policy_of

if TYPE_CHECKING:
    from ledger.statements.story import Story


@dataclass(frozen=True)
class Facts:
    """What follows from how a window's orders ended; every certificate that names them must say the same."""

    complete: bool
    detection: str | None
    caught: list[tuple[str, int]]


def check(said: Certificate, story: Story, index: int, listed: Facts | None) -> None:
    """Raise RuleError unless `said` may be entry `index`; `listed` comes from the list that it names, if any."""
    by = f"certificate {index}"
    mask, closed = story.get(said.mask, Mask, by), story.get(said.window, WindowClose, by)
    _check_request(said, mask, story, by)
    found = listed
    if found is None:
        check_lines(said.outcomes, said.not_ordered, mask, said.mask, closed, story, by)
        found = facts(said.outcomes, said.not_ordered, said.mask, said.window, story, by)
    _check_chain(said, story, by)
    if said.complete is None:  # from before there were policies
        return
    policy = policy_of(closed)
    same_value(said.quorum_percent, policy.quorum_percent, f"{by}: quorumPercent")
    same_value(said.coverage, policy.coverage, f"{by}: coverage")
    same_value(said.complete, found.complete, f"{by}: complete")
    same_value(said.detection, found.detection, f"{by}: detection")
    same_value([(one.chance, one.chunks) for one in said.caught], found.caught, f"{by}: caught")


def check_lines(
    outcomes: Sequence[Outcome], not_ordered: Sequence[NotOrdered], mask: Mask, mask_ref: LogRef,
    closed: WindowClose, story: Story, by: str,
) -> None:  # fmt: skip
    """Raise RuleError unless each line about a client is what the log says of it now."""
    ours = set(story.orders[mask.window])
    for outcome in outcomes:
        _check_outcome(outcome, ours, story, by)
    for one in not_ordered:
        _check_not_ordered(one, mask_ref, closed, story, by)


def facts(
    outcomes: Sequence[Outcome], not_ordered: Sequence[NotOrdered], mask_ref: LogRef, window: LogRef,
    story: Story, by: str,
) -> Facts:  # fmt: skip
    """What a window's lines come to. Raises RuleError where an order is missing, or there twice."""
    mask, closed = story.get(mask_ref, Mask, by), story.get(window, WindowClose, by)
    if sorted(one.order.index for one in outcomes) != story.orders[mask.window]:
        raise RuleError(f"{by} does not list exactly the orders of its window")
    if len({one.client for one in not_ordered}) != len(not_ordered):
        raise RuleError(f"{by} names a client without an order twice")
    named = {one.client for one in outcomes} | {one.client for one in not_ordered}
    for client in story.windows.suspensions:
        if client not in named and _suspended_holder(client, mask, mask_ref.index, story):
            raise RuleError(f"{by} leaves out client {client}, which was suspended when the mask came")
    verdicts = [last_verdict(story, one.order.index) for one in outcomes]
    accepted = [verdict for verdict in verdicts if verdict is not None and verdict.result == "accepted"]
    return Facts(
        quorum_reached(outcomes, not_ordered, policy_of(closed).quorum_percent),
        coverage.worst([verdict.detection for verdict in accepted]) if accepted else None,
        worst_caught(accepted),
    )


def worst_caught(verdicts: list[Verdict]) -> list[tuple[str, int]]:
    """Per chance the largest number of dishonest chunks among verdicts on samples; nothing if all are full."""
    worst: dict[str, int] = {}
    for verdict in verdicts:
        for one in verdict.caught:
            worst[one.chance] = max(worst.get(one.chance, 0), one.chunks)
    return sorted(worst.items())


def expected_status(order: int, story: Story) -> str:
    """What must be said of an order now."""
    verdict, claims = last_verdict(story, order), story.claims[order]
    if verdict is not None and verdict.result == "accepted":
        due, challenge = story.statements[order], story.windows.claimed_at.get(verdict.claim.index)
        assert isinstance(due, Order)
        late = challenge is not None and challenge.claimed_at is not None and challenge.claimed_at > due.due_at
        return "met-late" if late else "met"
    if order in story.windows.exceptions:
        return "excepted"
    answered = verdict is not None and verdict.claim.index == claims[-1]
    return "rejected" if answered else "unanswered"


def _check_request(said: Certificate, mask: Mask, story: Story, by: str) -> None:
    filed = story.get(said.filed, DeletionRequest, by)
    decision = story.get(said.decision, RequestDecision, by)
    if {filed.request, decision.request} != {said.request}:
        raise RuleError(f"{by} is about another request than it refers to")
    if mask.closed != said.window:
        raise RuleError(f"{by} names a mask of another window")
    taken_in = story.requests.lives[said.request].windows.get(mask.model.index)
    if taken_in != said.window.index:
        raise RuleError(f"{by} is about a request that window {said.window.index} has not taken in")


def _check_chain(said: Certificate, story: Story, by: str) -> None:
    known = [
        i
        for i in story.windows.certificates[said.request]
        if isinstance(earlier := story.statements[i], Certificate) and earlier.window == said.window
    ]
    expected = known[-1] if known else None
    got = None if said.supplements is None else said.supplements.index
    if got != expected:
        raise RuleError(f"{by} supplements {got}, the last certificate of this request and window is {expected}")
    if said.supplements is not None:
        story.get(said.supplements, Certificate, by)


def _check_outcome(outcome: Outcome, ours: set[int], story: Story, by: str) -> None:
    order, at = story.get(outcome.order, Order, by), outcome.order.index
    if at not in ours:
        raise RuleError(f"{by} names order {at}, so it does not list exactly the orders of its window")
    same_value(outcome.client, order.client, f"{by}: client of order {at}")
    if outcome.verdict is not None:
        story.expect(outcome.verdict, by)
    line_rules.check_outcome(outcome, story, by)
    expected, verdicts = expected_status(at, story), story.verdicts[at]
    if outcome.status != expected:
        raise PolicyError(f"{by} says {outcome.status} where the verdicts say {expected}")
    if verdicts and (outcome.verdict is None or outcome.verdict.index != verdicts[-1]):
        raise RuleError(f"{by} does not refer to the last verdict, at log index {verdicts[-1]}")
    _check_exception(outcome, story, by)


def _suspended_holder(client: str, mask: Mask, at: int, story: Story) -> bool:
    """Whether the mask at entry `at` would have brought the client an order, had it not been suspended."""
    held = story.lines.commitments.get((client, mask.model.index), ())
    return any(index < at for index in held) and story.windows.suspended(client, at) is not None


def _check_exception(outcome: Outcome, story: Story, by: str) -> None:
    noted = story.windows.exceptions.get(outcome.order.index)
    if outcome.status == "excepted" and (outcome.exception is None or outcome.exception.index != noted):
        raise RuleError(f"{by} does not refer to the exception of order {outcome.order.index}, entry {noted}")
    if outcome.exception is not None:
        story.get(outcome.exception, OrderException, by)


def _check_not_ordered(one: NotOrdered, mask: LogRef, closed: WindowClose, story: Story, by: str) -> None:
    if one.reason == "suspended":
        story.get(one.ref, ClientSuspension, by)
        same_value(one.ref.index, story.windows.suspended(one.client, mask.index), f"{by}: suspension")
        return
    commitment = story.get(one.ref, ModelCommitment, by)
    same_value((commitment.client, commitment.model), (one.client, closed.model), f"{by}: late commitment")
    if one.ref.index < mask.index:
        raise RuleError(f"{by}: commitment {one.ref.index} stands before the mask, so it should have got an order")
