"""What may follow what in the log: the rules that every reader of it applies, whole log or one window's bundle.

`check` judges one statement by those before it; a reader calls it for each entry in the log's order, then adds
the entry to its `Story` (`ledger.statements.story`):

- every reference points backwards, by index and leaf hash, at a statement of the right kind, and what can be said
  once only is said once;
- request, then decision, then window-close, then mask, then order, each about the right one before it;
- a tombstone, a key's revocation or rotation names what it ends;
- a client retires its last commitment on a model;
- a report stands under a log that it can have seen, and says why if it names persons.

The other rules have a module each: `order_rules` (orders, claims, challenges, proofs, verdicts), `window_rules`
(policies, suspensions, exceptions, fulfilment), `request_rules` (due dates, extensions, holds, closures),
`certificate_rules`, `list_rules` (lists of several entries), `line_rules` (later versions of models),
`coverage_rules`, `srs_rules`.
Who signed an entry is the business of `ledger.statements.keyring`.
"""

from __future__ import annotations

from functools import singledispatch

from ledger.statements import (
    certificate_rules,
    line_rules,
    list_rules,
    order_rules,
    request_rules,
    srs_rules,
    window_rules,
)
from ledger.statements.errors import RuleError, same
from ledger.statements.predicates import (
    AuditReport,
    Certificate,
    Challenge,
    CircuitRelease,
    Claim,
    ClientKeyRevocation,
    ClientKeyRotation,
    ClientModelRetirement,
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
from ledger.statements.references import references
from ledger.statements.story import Story, requests_of, said_once


def check(story: Story, index: int, predicate: Predicate) -> None:
    """Raise RuleError if `predicate` may not be entry `index` after the statements of `story`."""
    for ref in references(predicate):
        if ref.index >= index:
            raise RuleError(f"log entry {index} ({predicate.slug}) refers to a later entry, {ref.index}")
    about = said_once(predicate)
    if about is not None and (predicate.slug, about) in story.once:
        first = story.once[predicate.slug, about]
        raise RuleError(
            f"log entry {index} is the second {predicate.slug} about the same; the first is entry {first}"
        )
    list_rules.check_place(predicate, story, index)
    _check(predicate, story, index)
    if type(predicate) in request_rules.CONCERNING:
        story.requests.check(predicate, index)


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
def _(said: request_rules.Step, story: Story, index: int) -> None:
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
    for request in requests_of(said, story, index):
        story.requests.check_window(request, said.model.index, index)


@_check.register
def _(said: Mask, story: Story, index: int) -> None:
    closed = story.get(said.closed, WindowClose, f"mask {index}")
    same((closed.window, closed.model), (said.window, said.model), f"mask {index} is not of its window")


@_check.register
def _(said: ModelCommitment, story: Story, index: int) -> None:
    order_rules.expect_active(said.client, said.model, story, f"commitment {index}")
    line_rules.check_commitment(said, story, index)
    story.get(said.model, ModelRelease, f"commitment {index}")
    story.get(said.circuit, CircuitRelease, f"commitment {index}")


@_check.register
def _(said: Order, story: Story, index: int) -> None:
    order_rules.check_order(said, story, index)


@_check.register(ContinuationChallenge | ContinuationProof | ContinuationVerdict)
def _(said: line_rules.Step, story: Story, index: int) -> None:
    line_rules.check_step(said, story, index)


@_check.register
def _(said: OrderObjection, story: Story, index: int) -> None:
    order_rules.check_objection(said, story, index)


@_check.register
def _(said: Claim, story: Story, index: int) -> None:
    order_rules.check_claim(said, story, index)


@_check.register
def _(said: Challenge, story: Story, index: int) -> None:
    order_rules.check_challenge(said, story, index)


@_check.register
def _(said: Proof, story: Story, index: int) -> None:
    order_rules.check_proof(said, story, index)


@_check.register
def _(said: Verdict, story: Story, index: int) -> None:
    order_rules.check_verdict(said, story, index)


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
