"""What may follow what in the log: the rules that every reader of it applies, whole log or one window's bundle.

`check` judges one statement by those before it; a reader calls it for each entry in the log's order, then adds
the entry to its `Story`:

- every reference points backwards, by index and leaf hash, at a statement of the right kind;
- request, then decision, then window-close, then mask; a commitment before the mask of an order before the order;
- order, then claim, then challenge, then proof, then verdict, each about the right one before it; one challenge
  and one proof per claim, one verdict per proof; another claim only after a rejection;
- a certificate lists exactly the orders of its window and says of each what its last verdict says, as
  `ledger.statements.certificate_rules` has it; long lists take several entries (`ledger.statements.list_rules`);
- an objection is by the client of its order, once, and before that is met;
- a tombstone, a key's revocation or rotation names what it ends;
- nothing is ordered from a retired client or about a retired model, which gets no further commitment;
- later versions of a model go on as `ledger.statements.line_rules` says;
- verdicts and certificates name the SRS as `ledger.statements.srs_rules` says;
- requests live as `ledger.statements.request_rules` says: due dates, extensions, holds, closures;
- a report stands under a log that it can have seen, and says why if it names persons.

Who signed an entry is the business of `ledger.statements.keyring`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, singledispatch
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel

from ledger.statements import (
    certificate_rules,
    coverage_rules,
    line_rules,
    list_rules,
    request_rules,
    srs_rules,
    window_rules,
)
from ledger.statements.errors import RuleError
from ledger.statements.predicates import (
    AuditReport,
    Certificate,
    Challenge,
    CircuitRelease,
    Claim,
    ClientKeyRevocation,
    ClientKeyRotation,
    ClientModelRetirement,
    ClientRetirement,
    ClientSuspension,
    ContinuationChallenge,
    ContinuationProof,
    ContinuationVerdict,
    DeletionRequest,
    IdentityCheck,
    Mask,
    ModelCommitment,
    ModelRelease,
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
    RequestHold,
    SubjectAccess,
    Tombstone,
    Verdict,
    WindowClose,
    WindowOutcomes,
    WindowRequests,
)
from ledger.statements.predicates.base import LogRef
from ledger.statements.request_rules import Requests, Step

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
    requests: Requests = field(default_factory=Requests)
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
                for request in _requests_of(predicate, self, index):
                    self.requests.enter_window(request, predicate.model.index, index)
        kind = type(predicate)
        if kind in request_rules.CONCERNING:
            self.requests.add(predicate)
        if kind in window_rules.NOTED:
            self.windows.add(index, predicate)
        if kind in line_rules.NOTED:
            self.lines.add(index, predicate, self)
        self.lists.add(index, predicate)
        about = _said_once(predicate)
        if about is not None:
            self.once[predicate.slug, about] = index


def check(story: Story, index: int, predicate: Predicate) -> None:
    """Raise RuleError if `predicate` may not be entry `index` after the statements of `story`."""
    for ref in references(predicate):
        if ref.index >= index:
            raise RuleError(f"log entry {index} ({predicate.slug}) refers to a later entry, {ref.index}")
    about = _said_once(predicate)
    if about is not None and (predicate.slug, about) in story.once:
        first = story.once[predicate.slug, about]
        raise RuleError(
            f"log entry {index} is the second {predicate.slug} about the same; the first is entry {first}"
        )
    list_rules.check_place(predicate, story, index)
    _check(predicate, story, index)
    if type(predicate) in request_rules.CONCERNING:
        story.requests.check(predicate, index)


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


def references(value: BaseModel) -> list[LogRef]:
    """Every LogRef in a predicate, at any depth."""
    found: list[LogRef] = []
    _collect(value, found)
    return found


def _collect(value: BaseModel, found: list[LogRef]) -> None:
    members = value.__dict__
    _collect_items([members[name] for name in _with_parts(type(value))], found)


def _collect_items(items: list[Any], found: list[LogRef]) -> None:
    for item in items:
        if type(item) is LogRef:
            found.append(item)
        elif type(item) is list:
            _collect_items(item, found)
        elif isinstance(item, BaseModel):
            _collect(item, found)


@cache
def _with_parts(kind: type[BaseModel]) -> tuple[str, ...]:
    """The fields that can hold a LogRef, or what can hold one."""
    return tuple(name for name, field in kind.model_fields.items() if _may_hold(field.annotation))


def _may_hold(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_may_hold(part) for part in get_args(annotation))


def same(got: object, wanted: object, otherwise: str) -> None:
    """Raise RuleError with the sentence `otherwise` unless `got` is `wanted`."""
    if got != wanted:
        raise RuleError(otherwise)


def _said_once(predicate: Predicate) -> object:
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


@singledispatch
def _check(_predicate: Predicate, _story: Story, _index: int) -> None:
    """Circuit releases and enrolments refer to nothing; rotations are the key ring's."""


@_check.register
def _(said: RequestDecision, story: Story, index: int) -> None:
    filed = story.get(said.filed, DeletionRequest, f"decision {index}")
    same(filed.request, said.request, f"decision {index} is about another request than it refers to")


@_check.register
def _(said: Tombstone, story: Story, index: int) -> None:
    filed = story.get(said.filed, DeletionRequest, f"tombstone {index}")
    same(filed.request, said.request, f"tombstone {index} is about another request than it refers to")


@_check.register(
    RequestAcknowledgement | IdentityCheck | RequestExtension | RequestHold | RequestClosure | SubjectAccess
)
def _(said: Step, story: Story, index: int) -> None:
    filed = story.get(said.filed, DeletionRequest, f"{said.slug} {index}")
    same(filed.request, said.request, f"{said.slug} {index} is about another request than it refers to")


@_check.register
def _(said: ClientKeyRevocation, story: Story, index: int) -> None:
    story.expect(said.enrolled, f"revocation {index}")


@_check.register
def _(said: ClientKeyRotation, story: Story, index: int) -> None:
    story.expect(said.replaces, f"rotation {index}")


@_check.register
def _(said: ClientModelRetirement, story: Story, index: int) -> None:
    story.get(said.model, ModelRelease, f"retirement {index}")
    held = story.get(said.commitment, ModelCommitment, f"retirement {index}")
    same(
        (held.client, held.model, said.commitment.index),
        (said.client, said.model, story.lines.commitments[said.client, said.model.index][-1]),
        f"retirement {index} is not about the client's last commitment on that model",
    )


@_check.register
def _(said: WindowClose, story: Story, index: int) -> None:
    story.get(said.model, ModelRelease, f"window {index}")
    window_rules.check_close(said, story, index)
    list_rules.check_close(said, index)
    for ref in list_rules.decisions_of(said, story, index):
        decision = story.get(ref, RequestDecision, f"window {index}")
        same(decision.decision, "approved", f"window {index} holds a request that was not approved")
    for request in _requests_of(said, story, index):
        story.requests.check_window(request, said.model.index, index)


def _requests_of(said: WindowClose, story: Story, index: int) -> list[str]:
    """The requests that a window takes in; each once."""
    decisions = list_rules.decisions_of(said, story, index)
    found = [story.get(ref, RequestDecision, f"window {index}").request for ref in decisions]
    if len(set(found)) != len(found):
        raise RuleError(f"window {index} names a request twice")
    return found


@_check.register
def _(said: Mask, story: Story, index: int) -> None:
    closed = story.get(said.closed, WindowClose, f"mask {index}")
    same((closed.window, closed.model), (said.window, said.model), f"mask {index} is not of its window")


@_check.register
def _(said: ModelCommitment, story: Story, index: int) -> None:
    _expect_active(said.client, said.model, story, f"commitment {index}")
    line_rules.check_commitment(said, story, index)
    story.get(said.model, ModelRelease, f"commitment {index}")
    story.get(said.circuit, CircuitRelease, f"commitment {index}")


@_check.register
def _(order: Order, story: Story, index: int) -> None:
    by = f"order {index}"
    commitment = story.get(order.commitment, ModelCommitment, by)
    mask = story.get(order.mask, Mask, by)
    if not order.commitment.index < order.mask.index < index:
        raise RuleError(
            f"{by}: commitment, mask and order stand at {order.commitment.index}, {order.mask.index}, "
            f"{index}; the commitment must come before the mask"
        )
    same(commitment.client, order.client, f"{by} is about another client's commitment")
    _expect_active(order.client, commitment.model, story, by)
    same(commitment.circuit, order.circuit, f"{by} names another circuit release than the commitment")
    same((mask.window, mask.model), (order.window, commitment.model), f"{by} mixes windows or models")
    coverage_rules.check_order(order, index)
    window_rules.check_order(order, story, index)


@_check.register(ContinuationChallenge | ContinuationProof | ContinuationVerdict)
def _(said: line_rules.Step, story: Story, index: int) -> None:
    line_rules.check_step(said, story, index)


def _expect_active(client: str, model: LogRef, story: Story, by: str) -> None:
    """Raise RuleError if the client, or its copy of the model, was retired."""
    for kind, about in ((ClientRetirement, client), (ClientModelRetirement, (client, model.index))):
        entry = story.once.get((kind.slug, about))
        if entry is not None:
            raise RuleError(f"{by} follows the {kind.slug} of entry {entry}")


@_check.register
def _(said: OrderObjection, story: Story, index: int) -> None:
    order = story.get(said.order, Order, f"objection {index}")
    same(said.client, order.client, f"objection {index} is by another client than order {said.order.index}")
    verdicts = (story.statements[i] for i in story.verdicts[said.order.index])
    if any(isinstance(verdict, Verdict) and verdict.result == "accepted" for verdict in verdicts):
        raise RuleError(f"objection {index} comes after order {said.order.index} was met")


@_check.register
def _(claim: Claim, story: Story, index: int) -> None:
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


@_check.register
def _(challenge: Challenge, story: Story, index: int) -> None:
    claim = story.get(challenge.claim, Claim, f"challenge {index}")
    coverage_rules.check_challenge(challenge, claim, story.get(claim.order, Order, f"challenge {index}"), index)


@_check.register
def _(proof: Proof, story: Story, index: int) -> None:
    by = f"proof {index}"
    claim = story.get(proof.claim, Claim, by)
    challenge = story.get(proof.challenge, Challenge, by)
    same(claim.client, proof.client, f"{by} is by another client than its claim")
    same(challenge.claim, proof.claim, f"{by} answers a challenge of another claim")
    window_rules.refuse_excepted(claim.order, story, by)


@_check.register
def _(verdict: Verdict, story: Story, index: int) -> None:
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


@_check.register
def _(said: Certificate, story: Story, index: int) -> None:
    listed = None if said.outcomes_in is None else list_rules.facts_of(said, story, index)
    certificate_rules.check(said, story, index, listed)
    mask = story.get(said.mask, Mask, f"certificate {index}")
    srs_rules.check_certificate(said, story.provenances[mask.window], f"certificate {index}")


@_check.register
def _(said: WindowRequests, story: Story, index: int) -> None:
    list_rules.check_requests(said, story, index)


@_check.register
def _(said: WindowOutcomes, story: Story, index: int) -> None:
    list_rules.check_outcomes(said, story, index)


@_check.register
def _(said: ModelRelease, story: Story, index: int) -> None:
    if said.supersedes is not None:
        story.get(said.supersedes, ModelRelease, f"release {index}")


@_check.register
def _(said: RequestFulfilment, story: Story, index: int) -> None:
    window_rules.check_fulfilment(said, story, index)


@_check.register
def _(said: OrderException, story: Story, index: int) -> None:
    window_rules.check_exception(said, story, index)


@_check.register
def _(said: ClientSuspension, story: Story, index: int) -> None:
    window_rules.check_suspension(said, story, index)


@_check.register
def _(said: ModelRetirement, story: Story, index: int) -> None:
    window_rules.check_retirement(said, story, index)


@_check.register
def _(said: AuditReport, _story: Story, index: int) -> None:
    period = said.since is not None and said.until is not None and said.since < said.until
    if said.scope == "period":
        same((period, said.about), (True, None), f"report {index} is about a period without beginning and end")
    else:
        same(
            (said.about is None, said.since, said.until),
            (False, None, None),
            f"report {index} does not name its {said.scope}",
        )
    same(
        said.reason is not None, said.personal_data, f"report {index} names persons without a reason, or none with"
    )
    if said.covers > index:
        raise RuleError(f"report {index} stands under a log of {said.covers} entries, which it cannot have seen")
