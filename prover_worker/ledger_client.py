"""The agent's view of a ledger: REST calls, and a log that is checked rather than believed.

Whatever the agent acts on it takes from the log: the leaf must hash to what it is called, must be included under
a checkpoint that the log signed and that extends the last one seen, and must carry the provider's signature.
The log's and the provider's keys are pinned at enrolment. They stay the root of trust: where the ledger has
rotated keys since, the rotations in the log lead from the pinned keys to the later ones. Witnesses' keys are pinned
too if they are given then: from then on a checkpoint counts only with a quorum of their cosignatures.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AwareDatetime, BaseModel, NonNegativeInt, StrictStr, ValidationError

from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.keyring import KeyRing
from ledger.statements.keys import public_from_hex, public_hex
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import open_statement
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import Quorum
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.tlog.note import NoteVerifier
from prover_worker import uploading
from prover_worker.agent_state import Folder
from prover_worker.errors import AgentError, LedgerAway, Refused
from prover_worker.ledger_http import LedgerHttp, retry_after

Kind = TypeVar("Kind", bound=Predicate)
_COVER_PATIENCE = 60.0  # seconds until a new entry must stand under a checkpoint
_POLL = 1.0
_MAX_PAGES = 1000


@dataclass(frozen=True)
class Trust:
    """Keys pinned at enrolment: the log's (C2SP verifier key), the provider's (Ed25519, hex), those of witnesses
    (verifier keys), of which `quorum` must have cosigned a checkpoint.
    """

    origin: str
    vkey: str
    provider_key: str
    witnesses: Sequence[str] = ()
    quorum: int = 0


@dataclass(frozen=True)
class KeyChain:
    """From the pinned keys to those in use: the ring at the log's start, its rotations, the ring after them."""

    root: KeyRing
    rotations: list[tuple[int, Envelope]]
    latest: KeyRing

    @classmethod
    def follow(cls, trust: Trust, rotations: list[tuple[int, bytes]]) -> KeyChain:
        """Raises StatementError or NoteError where a rotation is not signed by the keys that it must be."""
        parsed = sorted(((index, Envelope.parse(data)) for index, data in rotations), key=lambda item: item[0])
        log_key = public_hex(NoteVerifier.parse(trust.vkey).public_key)
        root = KeyRing.rooted(trust.provider_key, log_key, parsed)
        return cls(root, parsed, root.after(parsed))

    def provider_at(self, index: int) -> str:
        """The provider's key that signs entry `index`."""
        return self.root.after([(at, said) for at, said in self.rotations if at < index]).provider


@dataclass(frozen=True)
class News:
    """The number of the last event; `again`: seconds after which to ask again, if the ledger could not wait."""

    last: int
    again: float | None

    @classmethod
    def read(cls, answer: Any, again: str | None) -> News:
        """Raises AgentError if that is no answer about events."""
        last = answer.get("last") if isinstance(answer, dict) else None
        if not isinstance(last, int):
            raise AgentError("the ledger sent a list of events that is none; tell its operator")
        return cls(last, retry_after(again))


class LedgerClient:
    """One server, one key. `seen` is a file that keeps the last checkpoint accepted."""

    def __init__(
        self,
        server: str,
        key: Ed25519PrivateKey | None = None,
        trust: Trust | None = None,
        seen: Path | None = None,
    ) -> None:
        self._trust, self._seen = trust, seen
        self._chain: KeyChain | None = None
        self._http = LedgerHttp(server, key)

    def releases(self) -> dict[str, Any]:
        """Keys, the current circuit release and all models; nothing here is trusted before it is pinned."""
        return self._http.request("GET", "releases").json()

    def orders(self) -> list[dict[str, Any]]:
        """All orders of this client, oldest first."""
        found: list[dict[str, Any]] = []
        path = "orders"
        for _ in range(_MAX_PAGES):
            page = self._http.request("GET", path).json()
            items, following = (page.get("items"), page.get("next")) if isinstance(page, dict) else (None, None)
            if not isinstance(items, list) or not isinstance(following, str | None):
                raise AgentError("the ledger sent a list of orders that is none; tell its operator")
            found += [_order(shown) for shown in items]
            if following is None:
                return found
            path = f"orders?{following.partition('?')[2]}"  # of the same server, wherever it points
        raise AgentError(f"the ledger's list of orders has no end: {_MAX_PAGES} pages; tell its operator")

    def order(self, uuid: str) -> dict[str, Any]:
        """One order."""
        return _order(self._http.request("GET", f"orders/{uuid}").json())

    def submit(self, envelope: Envelope, token: str | None = None) -> LogRef:
        """Send a signed statement and return where the log put it. Sending it again is harmless."""
        headers = {"Content-Type": "application/json"} | ({"Enrolment-Token": token} if token else {})
        data = envelope.to_bytes()
        answer = self._http.request("POST", "statements", content=data, headers=headers).json()
        ref = LogRef(index=answer["index"], leaf_hash=answer["leafHash"])
        if ref.leaf_hash != leaf_hash(data).hex() and not self._says(ref, envelope.payload):
            raise AgentError(
                "the ledger logged something else than what was sent; tell its operator and an auditor"
            )
        return ref

    def _says(self, ref: LogRef, payload: bytes) -> bool:
        """Whether an entry holds this very statement: a first try may have been signed by another key of ours."""
        data = base64.b64decode(self._http.request("GET", f"log/entries/{ref.index}").json()["envelope"])
        return leaf_hash(data).hex() == ref.leaf_hash and Envelope.parse(data).payload == payload

    def me(self) -> dict[str, Any]:
        """What the ledger knows of the client whose key signs."""
        return self._http.request("GET", "me").json()

    def own_keys(self) -> list[dict[str, Any]]:
        """All keys of this client, oldest first."""
        return self._http.request("GET", "me/keys").json()["keys"]

    def line(self, model: int) -> dict[str, Any]:
        """What a further commitment on the model of that log entry continues, and the orders met on it."""
        return self._http.request("GET", f"me/lines/{model}").json()

    def own_commitment(self, index: int) -> dict[str, Any]:
        """A commitment of this client, by log index."""
        return self._http.request("GET", f"me/commitments/{index}").json()

    def label_key(self, keyid: str, label: str) -> None:
        """Call a key something."""
        self._http.request("PATCH", f"me/keys/{keyid}", json={"label": label})

    def upload(self, data: bytes) -> str:
        """Store bytes under their SHA-256, which is returned. Goes on where an earlier upload was interrupted."""
        return uploading.upload(self._http, data)

    def news(self, after: int, wait: int) -> News | None:
        """What happened to this client after event number `after`; waits up to `wait` seconds for something.

        None: this ledger has no such address.
        """
        try:
            response = self._http.request("GET", f"me/events?after={after}&wait={wait}")
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return News.read(response.json(), response.headers.get("Retry-After"))

    def download(self, digest: str) -> bytes:
        """Fetch bytes and check them against their SHA-256."""
        data = self._http.fetch(f"blobs/{digest}", f'"{digest}"')
        if hashlib.sha256(data).hexdigest() != digest:
            raise AgentError(f"the ledger sent other bytes than those of SHA-256 {digest}; try again")
        return data

    def provider_statement(self, ref: LogRef, kind: type[Kind]) -> Kind:
        """A statement of the provider, as the log holds it under a checkpoint that extends all seen before.

        Waits up to a minute for a checkpoint that covers it. Raises AgentError naming what does not hold.
        """
        envelope = self._logged(ref)
        try:
            key = self._keys().provider_at(ref.index)
            statement = open_statement(Envelope.parse(envelope), public_from_hex(key))
        except StatementError as error:
            raise AgentError(f"log entry {ref.index} does not check out: {error}") from error
        if not isinstance(statement.predicate, kind):
            raise AgentError(f"log entry {ref.index} is a {statement.predicate.slug}; expected a {kind.slug}")
        return statement.predicate

    def _logged(self, ref: LogRef) -> bytes:
        """The leaf that `ref` points at, included under a checkpoint that extends all seen before."""
        deadline = time.monotonic() + _COVER_PATIENCE
        while (answer := self._http.request("GET", f"log/entries/{ref.index}").json())["checkpoint"] is None:
            if time.monotonic() > deadline:
                raise LedgerAway(f"no checkpoint covers log entry {ref.index} after a minute; try again later")
            time.sleep(_POLL)
        envelope = base64.b64decode(answer["envelope"])
        if leaf_hash(envelope).hex() != ref.leaf_hash:
            raise AgentError(f"log entry {ref.index} is not the one the ledger referred to; tell an auditor")
        try:
            head = self.accept_checkpoint(answer["checkpoint"])
            proof = [base64.b64decode(node) for node in answer["proof"]]
            verify_inclusion(leaf_hash(envelope), ref.index, head.size, proof, head.root)
        except TlogError as error:
            raise AgentError(f"log entry {ref.index} does not check out: {error}") from error
        return envelope

    def open_note(self, note: str) -> Checkpoint:
        """Check a checkpoint's signature and origin, and its quorum of cosignatures. Raises AgentError."""
        trust = self._pinned()
        try:
            Quorum.parse(trust.witnesses, trust.quorum).check(note)
        except TlogError as error:
            raise AgentError(f"a checkpoint does not check out: {error}") from error
        try:
            return self._keys().latest.open_checkpoint(note, trust.origin)
        except TlogError:
            self._chain = None  # the log may have changed its key since we asked
        try:
            return self._keys().latest.open_checkpoint(note, trust.origin)
        except TlogError as error:
            raise AgentError(f"a checkpoint does not check out: {error}") from error

    def _keys(self) -> KeyChain:
        """The keys that follow from the pinned ones, by rotations that the log holds. Raises AgentError."""
        if self._chain is None:
            listed = self._http.request("GET", "log/rotations").json()["rotations"]
            try:
                rotations = [(int(item["index"]), base64.b64decode(item["envelope"])) for item in listed]
                self._chain = KeyChain.follow(self._pinned(), rotations)
            except (TlogError, StatementError) as error:
                raise AgentError(f"the ledger's key rotations do not check out: {error}") from error
            # Their signatures hold; what is left is whether the log says so to everybody.
            for index, envelope in rotations:
                self._logged(LogRef(index=index, leaf_hash=leaf_hash(envelope).hex()))
        return self._chain

    def accept_checkpoint(self, note: str) -> Checkpoint:
        """Take a checkpoint only if it and the last one seen are of one history; remember the larger.

        Raises AgentError, or TlogError where they are not.
        """
        head = self.open_note(note)
        if self._seen and self._seen.exists():
            last = self.open_note(self._seen.read_text())
            old, new = sorted((last, head), key=lambda checkpoint: checkpoint.size)
            proof = []
            if 0 < old.size < new.size:
                answer = self._http.request("GET", f"log/consistency?old={old.size}&new={new.size}").json()
                proof = [base64.b64decode(node) for node in answer["proof"]]
            verify_consistency(old.size, old.root, new.size, new.root, proof)
            if head.size <= last.size:
                return head
        if self._seen:
            Folder(self._seen.parent).write(self._seen.name, note.encode())
        return head

    def _pinned(self) -> Trust:
        if self._trust is None:
            raise AgentError("this client is not enrolled yet; run `enrol` first")
        return self._trust


class _ShownOrder(BaseModel):
    """What the agent reads of an order as the ledger shows it; the log decides what is true."""

    uuid: UUID
    state: StrictStr
    attempt: NonNegativeInt
    dueAt: AwareDatetime  # noqa: N815 - as in the answer
    order: LogRef
    challenge: dict[str, Any] | None
    verdict: dict[str, Any] | None


def _order(shown: Any) -> dict[str, Any]:
    """An order as it was shown, if it is one. Raises AgentError."""
    try:
        _ShownOrder.model_validate(shown)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise AgentError(
            f"the ledger sent an order that is none: {where}: {first['msg']}, got {first['input']!r:.100}; "
            "nothing was done"
        ) from error
    return shown


def pin(
    releases: dict[str, Any],
    vkey: str | None,
    provider_key: str | None,
    witnesses: Sequence[str] = (),
    quorum: int | None = None,
) -> Trust:
    """Keys to trust from now on: those given, else those the server shows (trust on first use).

    Witnesses are only ever those given; by default all of them must cosign. Raises AgentError when the server
    shows other keys than those given, or a witness's key or the quorum makes no sense.
    """
    try:
        needed = Quorum.parse(witnesses, quorum).needed
    except TlogError as error:
        raise AgentError(f"these witnesses cannot be relied on: {error}") from error
    log_shown = releases["log"]
    shown = Trust(log_shown["origin"], log_shown["vkey"], releases["providerKey"], list(witnesses), needed)
    for what, wanted, got in (
        ("log's verifier key", vkey, shown.vkey),
        ("provider's key", provider_key, shown.provider_key),
    ):
        if wanted is not None and wanted != got:
            raise AgentError(f"the server shows {got} as the {what}; you expected {wanted}: do not enrol there")
    return shown
