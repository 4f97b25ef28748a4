"""Which key may sign what, by place in the log.

A `KeyRing` walks the log from its start and knows, at every index, the provider's key, the log's key, and the
key of each client:

- clients sign what they say with any of their valid keys. A client-enrolment brings the first one and is signed by
  it. A client-key-addition brings another and is signed by both a valid key and the new one, a client-key-rotation
  by the key that goes and the one that comes. A client-key-revocation, by the provider or a valid key, ends one;
  only the provider ends a client's last one, and only then may another enrolment follow. No key comes twice;
- a client-retirement ends all keys of a client for good;
- a key-rotation must be signed by the provider's key, by the key that goes and by the key that comes;
- everything else is the provider's.

The roots are two public keys that the reader trusts. They may be any of the keys that the log or the provider
ever had: rotations are signed by both sides, so `KeyRing.rooted` can follow them backwards as well.
A checkpoint of size s is signed by the log's key as it is after entry s - 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger.statements.dsse import Envelope
from ledger.statements.errors import RuleError, SignatureError, StatementError
from ledger.statements.keys import public_from_hex
from ledger.statements.predicates import (
    Claim,
    ClientEnrolment,
    ClientKeyAddition,
    ClientKeyRevocation,
    ClientKeyRotation,
    ClientModelRetirement,
    ClientRetirement,
    ContinuationProof,
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

#: What is, or may be, signed by others than the provider; and what changes who may sign.
OTHERS_SIGN: Final = frozenset(
    {
        ClientEnrolment, ClientKeyAddition, ClientKeyRotation, ClientKeyRevocation, ModelCommitment, Claim, Proof,
        OrderObjection, ClientModelRetirement, ContinuationProof, KeyRotation,
    }
)  # fmt: skip
CHANGES: Final = frozenset(
    {ClientEnrolment, ClientKeyAddition, ClientKeyRotation, ClientKeyRevocation, ClientRetirement, KeyRotation}
)


@dataclass
class KeyRing:
    """The keys at one place in the log, all raw public keys in hex. `log_keys` keeps (first size, key)."""

    provider: str
    log_keys: list[tuple[int, str]]
    clients: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)  # valid keys: (index, key)
    used: set[str] = field(default_factory=set)  # keys that clients brought, and those that were rotated away
    retired: set[str] = field(default_factory=set)  # clients

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

    def signers(self, index: int, predicate: Predicate) -> tuple[frozenset[str], ...]:
        """Who must have signed `predicate` if it is entry `index`: a key of each set. Raises RuleError."""
        if type(predicate) not in OTHERS_SIGN:
            return (frozenset({self.provider}),)
        match predicate:
            case ClientEnrolment() | ClientKeyAddition() | ClientKeyRotation():
                self._expect_new(index, predicate)
                return *self._vouching(index, predicate), frozenset({predicate.public_key})
            case ClientKeyRevocation(by="client"):
                return (self._any_of(index, predicate.client),)
            case (
                ModelCommitment()
                | Claim()
                | Proof()
                | OrderObjection()
                | ClientModelRetirement()
                | ContinuationProof()
            ):
                return (self._any_of(index, predicate.client),)
            case KeyRotation():
                needed = dict.fromkeys((self.provider, self._current(index, predicate), predicate.new_key))
                return tuple(frozenset({key}) for key in needed)
        return (frozenset({self.provider}),)

    def admit(self, index: int, predicate: Predicate) -> None:
        """Pass entry `index`, whose signatures were checked. Raises RuleError."""
        if type(predicate) not in CHANGES:
            return
        match predicate:
            case ClientEnrolment() | ClientKeyAddition():
                self._bring(index, predicate.client, predicate.public_key)
            case ClientKeyRotation():
                self._end(index, predicate.client, predicate.replaces.index)
                self._bring(index, predicate.client, predicate.public_key)
            case ClientKeyRevocation():
                self._end(index, predicate.client, predicate.enrolled.index)
                if predicate.by == "client" and not self.clients[predicate.client]:
                    raise RuleError(
                        f"log entry {index} revokes the last key of client {predicate.client}, signed by that"
                    )
            case ClientRetirement():
                self.clients[predicate.client] = ()
                self.retired.add(predicate.client)
            case KeyRotation(role="provider"):
                self.used.add(predicate.old_key)
                self.provider = predicate.new_key
            case KeyRotation():
                self.used.add(predicate.old_key)
                self.log_keys.append((index + 1, predicate.new_key))

    def key_of(self, index: int, client: str, brought: int) -> str:
        """The valid key of a client that entry `brought` brought. Raises RuleError."""
        for at, key in self.clients.get(client, ()):
            if at == brought:
                return key
        valid = ", ".join(str(at) for at, _ in self.clients.get(client, ())) or "none"
        raise RuleError(
            f"log entry {index} is about the key of entry {brought}; client {client} has the keys of entries "
            f"{valid}"
        )

    def open(self, index: int, envelope: Envelope) -> Predicate:
        """Check who signed entry `index`, pass it, return what it says. Raises StatementError."""
        claimed = Statement.decode(envelope.payload).predicate  # unverified: tells only whose keys to use
        signers = self.signers(index, claimed)
        try:
            for keys in signers:
                _open_by_any(envelope, keys)
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

    def _any_of(self, index: int, client: str) -> frozenset[str]:
        """All valid keys of a client, of which it has at least one."""
        keys = frozenset(key for _, key in self.clients.get(client, ()))
        if keys:
            return keys
        if client in self.retired:
            was = "which was retired"
        else:
            was = "whose key was revoked" if client in self.clients else "which was not enrolled before"
        raise RuleError(f"log entry {index} is by client {client}, {was}")

    def _vouching(
        self, index: int, said: ClientEnrolment | ClientKeyAddition | ClientKeyRotation
    ) -> tuple[frozenset[str], ...]:
        """Who must vouch for a new key, beside itself: nobody for a first one, which needs an officer's token."""
        match said:
            case ClientKeyAddition():
                return (self._any_of(index, said.client),)
            case ClientKeyRotation():
                return (frozenset({self.key_of(index, said.client, said.replaces.index)}),)
        self._expect_keyless(index, said.client)
        return ()

    def _expect_keyless(self, index: int, client: str) -> None:
        if self.clients.get(client):
            raise RuleError(f"log entry {index} enrols client {client} again, while its first key is valid")
        if client in self.retired:
            raise RuleError(f"log entry {index} enrols client {client}, which was retired")

    def _expect_new(self, index: int, said: ClientEnrolment | ClientKeyAddition | ClientKeyRotation) -> None:
        if said.public_key in self.used:
            raise RuleError(
                f"log entry {index} ({said.slug}) brings a key that was in use before: a new key is due"
            )

    def _bring(self, index: int, client: str, key: str) -> None:
        self.clients[client] = (*self.clients.get(client, ()), (index, key))
        self.used.add(key)

    def _end(self, index: int, client: str, brought: int) -> None:
        self.key_of(index, client, brought)
        self.clients[client] = tuple(pair for pair in self.clients[client] if pair[0] != brought)

    def _current(self, index: int, rotation: KeyRotation) -> str:
        """The key that a rotation must replace."""
        current = self.provider if rotation.role == "provider" else self.log_keys[-1][1]
        if rotation.old_key != current:
            raise RuleError(
                f"log entry {index} replaces the {rotation.role}'s key {rotation.old_key}, but that is {current}"
            )
        if rotation.new_key in self.used or rotation.new_key == current:
            raise RuleError(f"log entry {index} rotates to a key that was in use before: a new key is due")
        return current


def _rotation(envelope: Envelope) -> KeyRotation:
    said = Statement.decode(envelope.payload).predicate
    if not isinstance(said, KeyRotation):
        raise StatementError(f"got a {said.slug} statement, expected a key-rotation")
    return said


def _open_by_any(envelope: Envelope, keys: Iterable[str]) -> None:
    """Raise StatementError unless one of `keys` has signed a statement."""
    refusal: SignatureError | None = None
    for key in sorted(keys):
        try:
            open_statement(envelope, public_from_hex(key))
        except SignatureError as error:
            refusal = error
        else:
            return
    assert refusal is not None, "somebody must sign"
    raise refusal
