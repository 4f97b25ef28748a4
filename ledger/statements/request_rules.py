"""What may be said about a deletion request, and when: the part of `ledger.statements.rules` about its life.

- due dates follow from receipt and terms, terms are never laxer than the law, an extension comes once, inside the
  first period, with the notice that the terms ask for;
- a request is decided, closed and put into a window only in the states that `lifecycle.TRANSITIONS` allows;
- a held request is neither approved, nor in a window that closes, nor erased; holds are set and lifted in turn;
- after it is over nothing more is said about it, but for its certificate, holds, accesses and the tombstone;
- accesses to who asked are counted, and there is none after the tombstone: nothing is left to look at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ledger.statements import lifecycle
from ledger.statements.deadlines import due_at, expect_lawful, extended_due_at, terms_by_law
from ledger.statements.errors import RuleError
from ledger.statements.predicates import (
    Certificate,
    DeletionRequest,
    IdentityCheck,
    Predicate,
    RequestAcknowledgement,
    RequestClosure,
    RequestDecision,
    RequestExtension,
    RequestFulfilment,
    RequestHold,
    SubjectAccess,
    Tombstone,
)

#: Statements about one request, all with `request` and `filed`.
Step = RequestAcknowledgement | IdentityCheck | RequestExtension | RequestHold | RequestClosure | SubjectAccess


#: All that `Requests` looks at; most of what a log says is about something else.
CONCERNING: Final = frozenset(
    {
        DeletionRequest, RequestDecision, RequestHold, RequestExtension, RequestClosure, RequestFulfilment,
        RequestAcknowledgement, IdentityCheck, SubjectAccess, Tombstone, Certificate,
    }
)  # fmt: skip


@dataclass
class Life:
    """One request as the statements so far make it."""

    filed: DeletionRequest
    state: str = lifecycle.OPEN
    held: bool = False
    extended: bool = False
    windows: dict[int, int] = field(default_factory=dict)  # by model: the window-close that took it in
    checks: int = 0  # of identity
    holds: int = 0  # set or lifted
    accesses: int = 0  # to who asked
    erased: bool = False

    def note(self, said: IdentityCheck | RequestExtension | SubjectAccess | Tombstone) -> None:
        """Take what changes no state."""
        match said:
            case IdentityCheck():
                self.checks += 1
            case RequestExtension():
                self.extended = True
            case SubjectAccess():
                self.accesses += 1
            case Tombstone():
                self.erased = True


@dataclass
class Requests:
    """All requests, by UUID."""

    lives: dict[str, Life] = field(default_factory=dict)

    def check(self, predicate: Predicate, index: int) -> None:
        """Raise RuleError unless `predicate` may be said as entry `index`; references were checked before."""
        match predicate:
            case DeletionRequest():
                _check_dates(predicate, index)
            case RequestDecision():
                self._check_decision(predicate, index)
            case RequestHold():
                self._check_hold(predicate, index)
            case RequestExtension():
                self._check_extension(predicate, index)
            case RequestClosure():
                self._check_closure(predicate, index)
            case RequestFulfilment():
                _expect_transition(self.lives[predicate.request], lifecycle.FULFILLED, f"fulfilment {index}")
            case RequestAcknowledgement():
                self._expect_live(predicate.request, f"{predicate.slug} {index}")
            case IdentityCheck():
                life = self._expect_live(predicate.request, f"{predicate.slug} {index}")
                _expect_number(predicate.number, life.checks + 1, f"identity-check {index}")
            case SubjectAccess() | Tombstone():
                self._check_record(predicate, index)

    def check_window(self, request: str, model: int, index: int) -> None:
        """Raise RuleError unless the window on `model` that closes at entry `index` may take in this request."""
        life = self.lives[request]
        if life.state != lifecycle.IN_PROGRESS or model in life.windows:
            where = f"in window {life.windows[model]}" if model in life.windows else life.state
            raise RuleError(f"window {index} holds request {request}, which is {where}")
        _refuse_held(life, f"window {index}")

    def add(self, predicate: Predicate) -> None:
        """Take a statement that `check` has let pass."""
        match predicate:
            case DeletionRequest():
                self.lives[predicate.request] = Life(predicate)
            case RequestDecision():
                approved = predicate.decision == "approved"
                self.lives[predicate.request].state = lifecycle.IN_PROGRESS if approved else lifecycle.DENIED
            case RequestHold():
                self.lives[predicate.request].held = predicate.action == "set"
                self.lives[predicate.request].holds += 1
            case IdentityCheck() | RequestExtension() | SubjectAccess() | Tombstone():
                self.lives[predicate.request].note(predicate)
            case RequestClosure():
                self.lives[predicate.request].state = predicate.state
            case Certificate() if predicate.complete is None and predicate.is_complete:
                self.lives[predicate.request].state = lifecycle.FULFILLED
            case RequestFulfilment():
                self.lives[predicate.request].state = lifecycle.FULFILLED

    def enter_window(self, request: str, model: int, index: int) -> None:
        """The window on `model` that closed at entry `index` has taken in this request."""
        self.lives[request].windows[model] = index

    def _check_decision(self, said: RequestDecision, index: int) -> None:
        life = self.lives[said.request]
        wanted = lifecycle.IN_PROGRESS if said.decision == "approved" else lifecycle.DENIED
        _expect_transition(life, wanted, f"decision {index}")
        if said.decision == "approved":
            _refuse_held(life, f"decision {index}")

    def _check_hold(self, said: RequestHold, index: int) -> None:
        _expect_number(said.number, self.lives[said.request].holds + 1, f"hold {index}")
        if self.lives[said.request].held == (said.action == "set"):
            state = "is held already" if said.action == "set" else "is not held"
            raise RuleError(f"hold {index} is {said.action}, but request {said.request} {state}")

    def _check_record(self, said: SubjectAccess | Tombstone, index: int) -> None:
        """The sealed record is looked at while it is there, and not destroyed under a hold."""
        life = self.lives[said.request]
        if isinstance(said, Tombstone):
            _refuse_held(life, f"tombstone {index}")
            return
        _expect_number(said.number, life.accesses + 1, f"access {index}")
        if life.erased:
            raise RuleError(f"access {index} is to who made request {said.request}, which was erased before")

    def _check_closure(self, said: RequestClosure, index: int) -> None:
        life, by = self.lives[said.request], f"closure {index}"
        _expect_transition(life, said.state, by)
        if said.state == lifecycle.EXPIRED:
            _refuse_held(life, by)
        if life.windows:
            window = min(life.windows.values())
            raise RuleError(f"{by} comes after window {window} has closed with request {said.request} in it")

    def _check_extension(self, said: RequestExtension, index: int) -> None:
        by, life = f"extension {index}", self._expect_live(said.request, f"extension {index}")
        filed = life.filed
        terms = filed.terms or terms_by_law(filed.regulation)
        if life.extended or not terms.extendable:
            why = "was extended before" if life.extended else f"has no extension under {filed.regulation}"
            raise RuleError(f"{by}: request {said.request} {why}")
        if said.extended_at > filed.due_at:
            raise RuleError(f"{by} was made at {said.extended_at}, after the first period's end, {filed.due_at}")
        if terms.notice == "in-first-period" and (
            said.notified_at is None or not filed.received_at <= said.notified_at <= filed.due_at
        ):
            raise RuleError(f"{by} needs a notice between {filed.received_at} and {filed.due_at}")
        wanted = extended_due_at(filed.received_at, terms)
        if said.due_at != wanted:
            raise RuleError(f"{by} sets the due date {said.due_at}, its terms give {wanted}")

    def _expect_live(self, request: str, by: str) -> Life:
        life = self.lives[request]
        if life.state not in lifecycle.LIVE:
            raise RuleError(f"{by} is about request {request}, which is {life.state} and over")
        return life


def _check_dates(said: DeletionRequest, index: int) -> None:
    terms = said.terms or terms_by_law(said.regulation)
    if said.terms is not None:
        expect_lawful(said.regulation, terms)
    wanted = due_at(said.received_at, terms)
    if said.due_at != wanted:
        raise RuleError(f"request {index} is due at {said.due_at}, its terms give {wanted}")


def _expect_transition(life: Life, wanted: str, by: str) -> None:
    if not lifecycle.may_follow(life.state, wanted):
        raise RuleError(f"{by} makes request {life.filed.request} {wanted}, but it is {life.state}")


def _expect_number(got: int, wanted: int, by: str) -> None:
    if got != wanted:
        raise RuleError(f"{by} has the number {got}, expected {wanted}")


def _refuse_held(life: Life, by: str) -> None:
    if life.held:
        raise RuleError(f"{by} is about request {life.filed.request}, which is under a legal hold")
