"""Which key may sign what, by place in the log.

A `KeyRing` walks the log from its start and knows, at every index, the provider's key, the log's key, and the
key of each client:

- clients sign commitments, claims, proofs and objections with the key of their latest client-enrolment, which that
  key signs itself. A client-key-revocation ends it; only then may another enrolment follow, with a key never
  revoked;
- a key-rotation must be signed by the provider's key, by the key that goes and by the key that comes;
- everything else is the provider's.

The roots are two public keys that the reader trusts. They may be any of the keys that the log or the provider
ever had: rotations are signed by both sides, so `KeyRing.rooted` can follow them backwards as well.
A checkpoint of size s is signed by the log's key as it is after entry s - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.statements.dsse import Envelope
from ledger.statements.errors import RuleError, StatementError
from ledger.statements.keys import public_from_hex
from ledger.statements.predicates import (
    Claim,
    ClientEnrolment,
    ClientKeyRevocation,
    KeyRotation,
    ModelCommitment,
    OrderObjection,
    Predicate,
    Proof,
)
from ledger.statements.statement import Statement, open_statement
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import NoteError
from ledger.tlog.note import NoteVerifier


@dataclass
class KeyRing:
    """The keys at one place in the log, all raw public keys in hex. `log_keys` keeps (first size, key)."""

    provider: str
    log_keys: list[tuple[int, str]]
    clients: dict[str, tuple[int, str]] = field(default_factory=dict)  # client: index of its enrolment, key
    revoked: set[str] = field(default_factory=set)  # keys that sign nothing any more
    keyless: set[str] = field(default_factory=set)  # clients whose key was revoked

    @classmethod
    def rooted(cls, provider: str, log: str, rotations: Sequence[tuple[int, Envelope]] = ()) -> KeyRing:
        """The ring at the start of a log, from keys trusted now and its rotations, (index, envelope) ascending.

        Where a trusted key is the `newKey` of a rotation that it signed, its predecessor is believed too.
        Raises StatementError for a rotation that is none.
        """
        for _, envelope in reversed(rotations):
            said = _rotation(envelope)
            trusted = provider if said.role == "provider" else log
            if said.new_key != trusted:
                continue
            open_statement(envelope, public_from_hex(trusted))
            if said.role == "provider":
                provider = said.old_key
            else:
                log = said.old_key
        return cls(provider, [(0, log)])

    def after(self, rotations: Sequence[tuple[int, Envelope]]) -> KeyRing:
        """A ring that has passed all rotations, and nothing else: enough to open any checkpoint.

        Raises StatementError naming the rotation that does not hold.
        """
        ring = KeyRing(self.provider, list(self.log_keys))
        for index, envelope in rotations:
            ring.open(index, envelope)
        return ring

    def signers(self, index: int, predicate: Predicate) -> tuple[str, ...]:
        """The public keys that must have signed `predicate` if it is entry `index`. Raises RuleError."""
        match predicate:
            case ClientEnrolment():
                if predicate.client in self.clients:
                    raise RuleError(
                        f"log entry {index} enrols client {predicate.client} again, while its first key is valid"
                    )
                if predicate.public_key in self.revoked:
                    raise RuleError(f"log entry {index} enrols a key that was revoked: a new key is due")
                return (predicate.public_key,)
            case ModelCommitment() | Claim() | Proof() | OrderObjection():
                if predicate.client not in self.clients:
                    was = (
                        "whose key was revoked"
                        if predicate.client in self.keyless
                        else "which was not enrolled before"
                    )
                    raise RuleError(f"log entry {index} is by client {predicate.client}, {was}")
                return (self.clients[predicate.client][1],)
            case KeyRotation():
                return tuple(dict.fromkeys((self.provider, self._current(index, predicate), predicate.new_key)))
        return (self.provider,)

    def admit(self, index: int, predicate: Predicate) -> None:
        """Pass entry `index`, whose signatures were checked. Raises RuleError."""
        match predicate:
            case ClientEnrolment():
                self.clients[predicate.client] = (index, predicate.public_key)
                self.keyless.discard(predicate.client)
            case ClientKeyRevocation():
                enrolled, key = self.clients.pop(predicate.client, (None, ""))
                if enrolled != predicate.enrolled.index:
                    raise RuleError(
                        f"log entry {index} revokes the key of entry {predicate.enrolled.index}; client "
                        f"{predicate.client} has {'no key' if enrolled is None else f'that of entry {enrolled}'}"
                    )
                self.revoked.add(key)
                self.keyless.add(predicate.client)
            case KeyRotation(role="provider"):
                self.revoked.add(predicate.old_key)
                self.provider = predicate.new_key
            case KeyRotation():
                self.revoked.add(predicate.old_key)
                self.log_keys.append((index + 1, predicate.new_key))

    def open(self, index: int, envelope: Envelope) -> Predicate:
        """Check who signed entry `index`, pass it, return what it says. Raises StatementError."""
        claimed = Statement.decode(envelope.payload).predicate  # unverified: tells only whose keys to use
        signers = self.signers(index, claimed)
        try:
            for key in signers:
                open_statement(envelope, public_from_hex(key))
        except StatementError as error:
            raise RuleError(
                f"log entry {index} ({claimed.slug}) is not signed by whom it must be: {error}"
            ) from error
        self.admit(index, claimed)
        return claimed

    def log_key_at(self, size: int) -> str:
        """The key that signs checkpoints of `size` entries."""
        return next(key for first, key in reversed(self.log_keys) if size >= first)

    def open_checkpoint(self, text: str, origin: str) -> Checkpoint:
        """Check a checkpoint's signature by the log's key at its size, and parse it. Raises TlogError."""
        error: NoteError | None = None
        for _, key in self.log_keys:
            try:
                head = open_checkpoint(text, NoteVerifier(origin, public_from_hex(key)), origin)
            except NoteError as refusal:
                error = error or refusal
                continue
            if key != self.log_key_at(head.size):
                raise NoteError(
                    f"the checkpoint of size {head.size} is signed by a key that is not the log's at that size: "
                    f"got {key}, expected {self.log_key_at(head.size)}"
                )
            return head
        assert error is not None, "a log has at least one key"
        raise error

    def _current(self, index: int, rotation: KeyRotation) -> str:
        """The key that a rotation must replace."""
        current = self.provider if rotation.role == "provider" else self.log_keys[-1][1]
        if rotation.old_key != current:
            raise RuleError(
                f"log entry {index} replaces the {rotation.role}'s key {rotation.old_key}, but that is {current}"
            )
        if rotation.new_key in self.revoked or rotation.new_key == current:
            raise RuleError(f"log entry {index} rotates to a key that was in use before: a new key is due")
        return current


def _rotation(envelope: Envelope) -> KeyRotation:
    said = Statement.decode(envelope.payload).predicate
    if not isinstance(said, KeyRotation):
        raise StatementError(f"got a {said.slug} statement, expected a key-rotation")
    return said
