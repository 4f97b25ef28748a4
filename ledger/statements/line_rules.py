"""What may be said about later versions of a model: the part of `ledger.statements.rules` about continuations.

- a commitment `continues` the client's last one on the same model;
- a continuation-challenge is about a commitment that continues another and has something to show: masks that the
  client's accepted claims on the model have applied before it;
- one challenge and one proof per commitment, one verdict per proof, each about the right one before it;
- a verdict lists exactly those masks. A reader of less than the whole log knows a part of them, and asks for that.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ledger.statements import srs_rules
from ledger.statements.errors import RuleError
from ledger.statements.predicates import (
    Claim,
    ContinuationChallenge,
    ContinuationProof,
    ContinuationVerdict,
    Mask,
    ModelCommitment,
    Order,
    Predicate,
    Verdict,
)
from ledger.statements.predicates.certificate import Outcome

if TYPE_CHECKING:
    from ledger.statements.story import Story

Step = ContinuationChallenge | ContinuationProof | ContinuationVerdict
#: What `Lines` takes note of.
NOTED: Final = frozenset({ModelCommitment, ContinuationVerdict, Verdict})


@dataclass
class Lines:
    """What these rules need to know of the statements so far, by client and index of the model release."""

    commitments: defaultdict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    applied: defaultdict[tuple[str, int], list[tuple[int, int]]] = field(  # (verdict, mask)
        default_factory=lambda: defaultdict(list)
    )
    verdicts: dict[int, str] = field(default_factory=dict)  # of continuations, by commitment

    def add(self, index: int, said: Predicate, story: Story) -> None:
        """Take entry `index`, which the rules have let pass."""
        match said:
            case ModelCommitment():
                self.commitments[said.client, said.model.index].append(index)
            case ContinuationVerdict():
                self.verdicts[said.commitment.index] = said.result
            case Verdict(result="accepted"):
                claim = story.get(said.claim, Claim, f"verdict {index}")
                order = story.get(claim.order, Order, f"verdict {index}")
                held = story.get(order.commitment, ModelCommitment, f"verdict {index}")
                self.applied[order.client, held.model.index].append((index, order.mask.index))

    def continuity(self, held: ModelCommitment, index: int) -> str:
        """How commitment `index` stands with the zeros of earlier windows, as far as the statements so far say."""
        if index in self.verdicts:
            return "shown" if self.verdicts[index] == "accepted" else "refuted"
        if not self.masks_before(held, index):
            return "nothing-due"
        return "unlinked" if held.continues is None else "awaited"

    def masks_before(self, held: ModelCommitment, index: int) -> set[int]:
        """The masks, by log index, that commitment `index` must still be zero on."""
        return {mask for verdict, mask in self.applied[held.client, held.model.index] if verdict < index}


def said_once(said: Step) -> int:
    """What a statement is about, where a second one about the same is refused."""
    return said.proof.index if isinstance(said, ContinuationVerdict) else said.commitment.index


def check_commitment(said: ModelCommitment, story: Story, index: int) -> None:
    """Raise RuleError unless it continues the client's last commitment on that model, if any."""
    if said.continues is None:
        return
    earlier = story.lines.commitments[said.client, said.model.index]
    if (earlier and earlier[-1] != said.continues.index) or (story.whole and not earlier):
        last = earlier[-1] if earlier else "none"
        raise RuleError(
            f"commitment {index} continues entry {said.continues.index}; "
            f"the client's last one on that model is {last}"
        )
    if earlier:
        story.expect(said.continues, f"commitment {index}")


def check_step(said: Step, story: Story, index: int) -> None:
    """Raise RuleError if a continuation's statement may not be entry `index`."""
    by = f"{said.slug} {index}"
    held = story.get(said.commitment, ModelCommitment, by)
    match said:
        case ContinuationChallenge():
            if held.continues is None:
                raise RuleError(f"{by} is about a commitment that continues none")
            if story.whole and not story.lines.masks_before(held, said.commitment.index):
                raise RuleError(f"{by} is about a commitment that has nothing to show")
        case ContinuationProof():
            challenge = story.get(said.challenge, ContinuationChallenge, by)
            if (challenge.commitment, held.client) != (said.commitment, said.client):
                raise RuleError(f"{by} mixes commitments or clients")
        case ContinuationVerdict():
            proof = story.get(said.proof, ContinuationProof, by)
            if (proof.commitment, proof.bundle_sha256) != (said.commitment, said.bundle_sha256):
                raise RuleError(f"{by} is about another commitment or file than its proof")
            srs_rules.check_verdict(said, held.circuit, story, by)
            _check_masks(said, held, story, by)


def check_outcome(outcome: Outcome, story: Story, by: str) -> None:
    """Raise RuleError where a certificate says of an ordered model what continuations do not.

    Whoever has not seen earlier windows cannot tell whether something was due; a verdict is seen in any case.
    """
    order = story.get(outcome.order, Order, by)
    held = story.get(order.commitment, ModelCommitment, by)
    known = story.lines.continuity(held, order.commitment.index)
    judged = {"shown", "refuted"} & {known, outcome.continuity}
    if outcome.continuity is not None and (story.whole or judged) and outcome.continuity != known:
        raise RuleError(
            f"{by} calls the model of entry {order.commitment.index} {outcome.continuity}; it is {known}"
        )


def _check_masks(said: ContinuationVerdict, held: ModelCommitment, story: Story, by: str) -> None:
    listed = {ref.index for ref in said.masks}
    for ref in said.masks:
        mask = story.get(ref, Mask, by)
        if mask.model != held.model:
            raise RuleError(f"{by} lists mask {ref.index}, which is for another model")
    due = story.lines.masks_before(held, said.commitment.index)
    if not due <= listed or (story.whole and due != listed):
        raise RuleError(f"{by} lists the masks {sorted(listed)}, those applied before are {sorted(due)}")
