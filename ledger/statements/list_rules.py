"""Lists that take several entries of the log: the part of `ledger.statements.rules` about these.

- the parts of a list stand in consecutive entries, numbered from 1, each naming the one before;
- right after the last part stands what the list is for, and names it: the window-close, or a certificate; further
  certificates follow without a gap. So nothing happens between what a list says and what rests on it, a part that
  is missing or of another list breaks the chain, and there is no part that nothing rests on;
- window-requests are about one window that is not closed yet, and each of their decisions approves;
- window-outcomes are about one window's mask and say of each order what a certificate would have to say; a window's
  further list names the last part of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from ledger.statements import certificate_rules
from ledger.statements.certificate_rules import Facts
from ledger.statements.errors import RuleError
from ledger.statements.predicates import (
    Certificate,
    Mask,
    ModelRelease,
    Predicate,
    RequestDecision,
    WindowClose,
    WindowOutcomes,
    WindowRequests,
)
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import NotOrdered, Outcome

if TYPE_CHECKING:
    from ledger.statements.story import Story

Part = WindowRequests | WindowOutcomes
#: What `Lists` takes note of.
NOTED: Final = frozenset({WindowRequests, WindowOutcomes, Certificate})
Kind = TypeVar("Kind", WindowRequests, WindowOutcomes)


@dataclass
class OutcomeList:
    """A list of outcomes as far as it was said. `last` is its last part, by index, and `following` the entry that
    the next certificate must be; `facts` is there when the first one has come.
    """

    last: int
    following: int
    outcomes: list[Outcome] = field(default_factory=list)
    not_ordered: list[NotOrdered] = field(default_factory=list)
    facts: Facts | None = None


@dataclass
class Lists:
    """The part that the next entry must go on from, if any, and each window's last list, by its window-close."""

    waiting: tuple[int, Part] | None = None
    outcomes: dict[int, OutcomeList] = field(default_factory=dict)

    def add(self, index: int, said: Predicate) -> None:
        """Take entry `index`, which the rules have let pass."""
        self.waiting = None
        if type(said) not in NOTED:
            return
        self.waiting = (index, said) if isinstance(said, Part) else None
        match said:
            case WindowOutcomes():
                if said.previous is None:
                    self.outcomes[said.window.index] = OutcomeList(index, index)
                found = self.outcomes[said.window.index]
                found.last, found.following = index, index + 1
                found.outcomes += said.outcomes
                found.not_ordered += said.not_ordered
            case Certificate(outcomes_in=LogRef()):
                self.outcomes[said.window.index].following = index + 1


def check_place(said: Predicate, story: Story, index: int) -> None:
    """Raise RuleError if entry `index` comes between a list and what it is for."""
    if story.lists.waiting is None:
        return
    at, part = story.lists.waiting
    if index != at + 1 or _named(said, part) != at:
        raise RuleError(
            f"log entry {index} ({said.slug}) breaks off the {part.slug} of entry {at}: the entry after it must go "
            "on with the list or be what it is for"
        )


def _named(said: Predicate, part: Part) -> int | None:
    """The part that a statement names, by index, where it may follow one of this kind."""
    ref = None
    if isinstance(said, Part) and type(said) is type(part):
        ref = said.previous
    elif isinstance(said, WindowClose) and isinstance(part, WindowRequests):
        ref = said.requests_in
    elif isinstance(said, Certificate) and isinstance(part, WindowOutcomes):
        ref = said.outcomes_in
    return None if ref is None else ref.index


def check_requests(said: WindowRequests, story: Story, index: int) -> None:
    """Raise RuleError unless entry `index` may be this part of a window's requests."""
    by = f"{said.slug} {index}"
    before = _before(said, story, index)
    if before is not None and (before.window, before.model) != (said.window, said.model):
        raise RuleError(f"{by} goes on with the list of another window or model")
    closed = story.once.get((WindowClose.slug, said.window))
    if closed is not None:
        raise RuleError(f"{by} is about window {said.window}, which entry {closed} has closed")
    story.get(said.model, ModelRelease, by)
    for ref in said.decisions:
        if story.get(ref, RequestDecision, by).decision != "approved":
            raise RuleError(f"{by} holds a request that was not approved, decision {ref.index}")


def decisions_of(closed: WindowClose, story: Story, index: int) -> list[LogRef]:
    """The decisions of a window that closes at entry `index`, wherever they stand. Raises RuleError."""
    by = f"window {index}"
    if bool(closed.decisions) == (closed.requests_in is not None):
        raise RuleError(f"{by} must name its decisions itself or where they are listed, one of the two")
    found, ref = [closed.decisions], closed.requests_in
    while ref is not None:
        part = story.get(ref, WindowRequests, by)
        if (part.window, part.model) != (closed.window, closed.model):
            raise RuleError(f"{by} rests on entry {ref.index}, which is about another window or model")
        found.append(part.decisions)
        ref = part.previous
    return [decision for decisions in reversed(found) for decision in decisions]


def check_close(closed: WindowClose, index: int) -> None:
    """Raise RuleError unless the list that a window-close names stands right before it."""
    if closed.requests_in is not None and closed.requests_in.index != index - 1:
        raise RuleError(f"window {index} rests on entry {closed.requests_in.index}, not on the one before it")


def check_outcomes(said: WindowOutcomes, story: Story, index: int) -> None:
    """Raise RuleError unless entry `index` may be this part of how a window's orders ended."""
    by = f"{said.slug} {index}"
    mask = story.get(said.mask, Mask, by)
    if mask.closed != said.window:
        raise RuleError(f"{by} names a mask of another window")
    closed = story.get(said.window, WindowClose, by)
    before = _before(said, story, index)
    if before is None:
        _check_supplements(said, story, by)
    elif (before.window, before.mask, said.supplements) != (said.window, said.mask, None):
        raise RuleError(f"{by} goes on with the list of another window, or calls itself a new one")
    certificate_rules.check_lines(said.outcomes, said.not_ordered, mask, said.mask, closed, story, by)


def _check_supplements(said: WindowOutcomes, story: Story, by: str) -> None:
    known = story.lists.outcomes.get(said.window.index)
    got = None if said.supplements is None else said.supplements.index
    expected = None if known is None else known.last
    if got != expected:
        raise RuleError(f"{by} supplements {got}, the last part of the window's list before is {expected}")
    if said.supplements is not None:
        story.get(said.supplements, WindowOutcomes, by)


def facts_of(said: Certificate, story: Story, index: int) -> Facts:
    """What the list that a certificate names comes to. Raises RuleError unless it may be named here."""
    assert said.outcomes_in is not None
    by = f"certificate {index}"
    if said.outcomes or said.not_ordered or said.complete is None:
        raise RuleError(f"{by} names clients itself and a list of them, or does not say whether it is complete")
    part = story.get(said.outcomes_in, WindowOutcomes, by)
    found = story.lists.outcomes.get(said.window.index)
    if found is None or (part.window, part.mask) != (said.window, said.mask):
        raise RuleError(f"{by} rests on a list of another window")
    if (said.outcomes_in.index, index) != (found.last, found.following):
        raise RuleError(
            f"{by} rests on the list that ends with entry {said.outcomes_in.index}; the window's last one ends "
            f"with entry {found.last}, and only entry {found.following} may rest on it"
        )
    if found.facts is None:
        found.facts = certificate_rules.facts(found.outcomes, found.not_ordered, said.mask, said.window, story, by)
    return found.facts


def _before(said: Kind, story: Story, index: int) -> Kind | None:
    """The part before this one; None for a first. Raises RuleError where numbers or places do not fit."""
    by = f"{said.slug} {index}"
    if said.previous is None:
        if said.number != 1:
            raise RuleError(f"{by} is part {said.number} of a list, and names none before it")
        return None
    before = story.get(said.previous, type(said), by)
    if (said.previous.index, said.number) != (index - 1, before.number + 1):
        raise RuleError(
            f"{by} is part {said.number} after part {before.number} of entry {said.previous.index}: parts follow "
            "each other without a gap"
        )
    return before
