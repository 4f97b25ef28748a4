"""What was said so far: the statements that a reader of the log has let pass, and what belongs together in them.

`ledger.statements.rules` judges the next statement by it. Beside the statements themselves a `Story` keeps what
each part of the rules needs to find quickly: `Requests`, `Windows`, `Lines` and `Lists` are those parts' own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ledger.statements import line_rules, list_rules, request_rules, window_rules
from ledger.statements.errors import RuleError
from ledger.statements.predicates import (
    AuditReport,
    Challenge,
    CircuitRelease,
    Claim,
    ClientModelRetirement,
    ClientRetirement,
    ContinuationChallenge,
    ContinuationProof,
    ContinuationVerdict,
    DeletionRequest,
    Mask,
    ModelRetirement,
    Order,
    OrderException,
    OrderObjection,
    Predicate,
    Proof,
    RequestAcknowledgement,
    RequestClosure,
    RequestDecision,
    RequestExtension,
    RequestFulfilment,
    Tombstone,
    Verdict,
    WindowClose,
)
from ledger.statements.predicates.base import LogRef

Kind = TypeVar("Kind", bound=Predicate)


@dataclass
class Story:
    """The statements so far, by log index, and where to find those that belong together.

    `where` is what messages call the collection.
    """

    where: str = "the log"
    statements: dict[int, Predicate] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)  # of leaves, in hex as references have them
    orders: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # by window
    claims: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # by order
    verdicts: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # by order
    provenances: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # of SRS, by window
    once: dict[tuple[str, object], int] = field(default_factory=dict)  # what may be said once: (slug, about)
    requests: request_rules.Requests = field(default_factory=request_rules.Requests)
    windows: window_rules.Windows = field(default_factory=window_rules.Windows)
    lines: line_rules.Lines = field(default_factory=line_rules.Lines)
    lists: list_rules.Lists = field(default_factory=list_rules.Lists)
    whole: bool = True  # false where statements were left out, as in a bundle

    def get(self, ref: LogRef, kind: type[Kind], by: str) -> Kind:
        """The statement that another one refers to. Raises RuleError."""
        index = ref.index
        predicate = self.statements.get(index)
        if self.hashes.get(index) != ref.leaf_hash:
            self.expect(ref, by)
        if not isinstance(predicate, kind):
            found = "another statement" if predicate is None else f"a {predicate.slug}"
            raise RuleError(f"{by} refers to log entry {ref.index} as a {kind.slug}; it is {found}")
        return predicate

    def expect(self, ref: LogRef, by: str) -> None:
        """Raise RuleError unless `ref` is an entry that was added."""
        if self.hashes.get(ref.index) != ref.leaf_hash:
            raise RuleError(f"{by} refers to log entry {ref.index}, which is not in {self.where} as it says")

    def add(self, index: int, leaf_hash: bytes, predicate: Predicate) -> None:
        """Take entry `index`, which `check` has let pass."""
        self.statements[index], self.hashes[index] = predicate, leaf_hash.hex()
        match predicate:
            case Order():
                self.orders[predicate.window].append(index)
                circuit = self.get(predicate.circuit, CircuitRelease, f"order {index}")
                self.provenances[predicate.window].add(circuit.srs.provenance)
            case Claim():
                self.claims[predicate.order.index].append(index)
            case Verdict():
                claim = self.get(predicate.claim, Claim, f"verdict {index}")
                self.verdicts[claim.order.index].append(index)
            case WindowClose():
                for request in requests_of(predicate, self, index):
                    self.requests.enter_window(request, predicate.model.index, index)
        kind = type(predicate)
        if kind in request_rules.CONCERNING:
            self.requests.add(predicate)
        if kind in window_rules.NOTED:
            self.windows.add(index, predicate)
        if kind in line_rules.NOTED:
            self.lines.add(index, predicate, self)
        self.lists.add(index, predicate)
        about = said_once(predicate)
        if about is not None:
            self.once[predicate.slug, about] = index


def requests_of(said: WindowClose, story: Story, index: int) -> list[str]:
    """The requests that a window closing at entry `index` takes in. Raises RuleError where one is named twice."""
    decisions = list_rules.decisions_of(said, story, index)
    found = [story.get(ref, RequestDecision, f"window {index}").request for ref in decisions]
    if len(set(found)) != len(found):
        raise RuleError(f"window {index} names a request twice")
    return found


def said_once(predicate: Predicate) -> object:
    """What a statement is about, where a second one about the same is refused; else None."""
    about = _ABOUT.get(type(predicate))
    return None if about is None else about(predicate)


#: What those kinds are about of which one statement each is all that there may be.
_ABOUT: Final[dict[type[Predicate], Callable[[Any], object]]] = {
    **dict.fromkeys(
        (
            DeletionRequest, RequestDecision, Tombstone, RequestAcknowledgement, RequestExtension, RequestClosure,
            RequestFulfilment,
        ),
        lambda said: said.request,
    ),
    **dict.fromkeys((WindowClose, Mask), lambda said: said.window),
    **dict.fromkeys((ContinuationChallenge, ContinuationProof, ContinuationVerdict), line_rules.said_once),
    **dict.fromkeys((OrderObjection, OrderException), lambda said: said.order.index),
    **dict.fromkeys((Challenge, Proof), lambda said: said.claim.index),
    AuditReport: lambda said: said.report,
    ClientRetirement: lambda said: said.client,
    ClientModelRetirement: lambda said: (said.client, said.model.index),
    ModelRetirement: lambda said: said.model.index,
    Order: lambda said: said.order,
    Verdict: lambda said: said.proof.index,
}  # fmt: skip
