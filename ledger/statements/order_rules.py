"""What may be said about orders and their answers: the part of `ledger.statements.rules` about these.

- a commitment before the mask of an order, which comes before the order, all of one window, model and circuit;
- order, then claim, then challenge, then proof, then verdict, each about the right one before it; another claim
  only after a rejection;
- an objection is by the client of its order, and before that is met;
- nothing is ordered from a retired client or about a copy of a model that it has retired;
- a challenge's checkpoint covers what it is about, and is older than the challenge.

Coverage, policies and the SRS have parts of their own, which these ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.statements import coverage_rules, srs_rules, window_rules
from ledger.statements.errors import RuleError, same
from ledger.statements.predicates import (
    Challenge,
    Claim,
    ClientModelRetirement,
    ClientRetirement,
    ContinuationChallenge,
    Mask,
    ModelCommitment,
    Order,
    OrderObjection,
    Proof,
    Verdict,
)
from ledger.statements.predicates.base import LogRef

if TYPE_CHECKING:
    from ledger.statements.story import Story


def expect_active(client: str, model: LogRef, story: Story, by: str) -> None:
    """Raise RuleError if the client, or its copy of the model, was retired."""
    for kind, about in ((ClientRetirement, client), (ClientModelRetirement, (client, model.index))):
        entry = story.once.get((kind.slug, about))
        if entry is not None:
            raise RuleError(f"{by} follows the {kind.slug} of entry {entry}")


def check_order(order: Order, story: Story, index: int) -> None:
    """Raise RuleError unless an order is about a commitment before its mask, by an active client."""
    by = f"order {index}"
    commitment = story.get(order.commitment, ModelCommitment, by)
    mask = story.get(order.mask, Mask, by)
    if not order.commitment.index < order.mask.index < index:
        raise RuleError(
            f"{by}: commitment, mask and order stand at {order.commitment.index}, {order.mask.index}, "
            f"{index}; the commitment must come before the mask"
        )
    same(commitment.client, order.client, f"{by} is about another client's commitment")
    expect_active(order.client, commitment.model, story, by)
    same(commitment.circuit, order.circuit, f"{by} names another circuit release than the commitment")
    same((mask.window, mask.model), (order.window, commitment.model), f"{by} mixes windows or models")
    coverage_rules.check_order(order, index)
    window_rules.check_order(order, story, index)


def check_objection(said: OrderObjection, story: Story, index: int) -> None:
    """Raise RuleError unless an objection is by the client of an order that is not met."""
    order = story.get(said.order, Order, f"objection {index}")
    same(said.client, order.client, f"objection {index} is by another client than order {said.order.index}")
    verdicts = (story.statements[i] for i in story.verdicts[said.order.index])
    if any(isinstance(verdict, Verdict) and verdict.result == "accepted" for verdict in verdicts):
        raise RuleError(f"objection {index} comes after order {said.order.index} was met")


def check_claim(claim: Claim, story: Story, index: int) -> None:
    """Raise RuleError unless a claim is its order's next attempt, and the one before was rejected."""
    by = f"order {claim.order.index}"
    order = story.get(claim.order, Order, f"claim {index}")
    window_rules.refuse_excepted(claim.order, story, f"claim {index}")
    earlier = story.claims[claim.order.index]
    number = len(earlier) + 1
    same((claim.client, claim.attempt), (order.client, number), f"claim {index} is not attempt {number} of {by}")
    if not earlier:
        return
    # A new attempt may only follow the rejection of the one before: nobody draws a challenge twice.
    verdicts = (story.statements[i] for i in story.verdicts[claim.order.index])
    if not any(
        isinstance(v, Verdict) and v.claim.index == earlier[-1] and v.result == "rejected" for v in verdicts
    ):
        raise RuleError(f"claim {index} follows claim {earlier[-1]} without its rejection in between")


def check_challenge(challenge: Challenge, story: Story, index: int) -> None:
    """Raise RuleError unless a challenge discloses what its order was bound to."""
    claim = story.get(challenge.claim, Claim, f"challenge {index}")
    coverage_rules.check_challenge(challenge, claim, story.get(claim.order, Order, f"challenge {index}"), index)


def check_challenge_size(index: int, challenge: Challenge | ContinuationChallenge, size: int) -> None:
    """Raise RuleError unless a checkpoint of `size` entries lies between challenge `index` and what it is about."""
    about, what = (
        (challenge.claim, "claim") if isinstance(challenge, Challenge) else (challenge.commitment, "commitment")
    )
    if not about.index < size <= index:
        raise RuleError(
            f"challenge {index} uses a checkpoint of size {size}: it must cover {what} "
            f"{about.index} and precede the challenge"
        )


def check_proof(proof: Proof, story: Story, index: int) -> None:
    """Raise RuleError unless a proof answers the challenge of its own claim."""
    by = f"proof {index}"
    claim = story.get(proof.claim, Claim, by)
    challenge = story.get(proof.challenge, Challenge, by)
    same(claim.client, proof.client, f"{by} is by another client than its claim")
    same(challenge.claim, proof.claim, f"{by} answers a challenge of another claim")
    window_rules.refuse_excepted(claim.order, story, by)


def check_verdict(verdict: Verdict, story: Story, index: int) -> None:
    """Raise RuleError unless a verdict is about its proof, and says what coverage and SRS give."""
    proof = story.get(verdict.proof, Proof, f"verdict {index}")
    claim = story.get(verdict.claim, Claim, f"verdict {index}")
    same(
        (proof.claim, proof.bundle_sha256),
        (verdict.claim, verdict.bundle_sha256),
        f"verdict {index} is about another claim or bundle than its proof",
    )
    order = story.get(claim.order, Order, f"verdict {index}")
    coverage_rules.check_verdict(verdict, claim, order, index)
    srs_rules.check_verdict(verdict, order.circuit, story, f"verdict {index}")
