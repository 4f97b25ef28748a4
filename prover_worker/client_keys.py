"""The client's own keys: list, add, rotate, revoke, use another one. None of it needs an officer.

A change is one signed statement. It can be interrupted anywhere:

1. the new key is written to a file;
2. the signed statement is written to key-change.json, with what to do once the log has it;
3. it is sent; sending it again is harmless, as the log holds a statement once;
4. the key files change over;
5. key-change.json goes.

Whatever command comes next finishes a change that it finds (`finish`), so no command signs with a key that the
log has ended. A ledger that refuses the statement has not logged it: the change is dropped, the old key stays.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.statements import dsse, keys
from ledger.statements.dsse import Envelope
from ledger.statements.predicates import ClientKeyAddition, ClientKeyRevocation, ClientKeyRotation, Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from prover_worker.agent_state import Folder
from prover_worker.errors import AgentError, Refused
from prover_worker.ledger_client import LedgerClient

logger = logging.getLogger(__name__)

KEY: Final = "key.pem"
STAGED: Final = "key.new.pem"
CHANGE: Final = "key-change.json"
Reason = Literal["lost", "stolen", "replaced"]
REASONS: Final[tuple[str, ...]] = get_args(Reason)


class ClientKeys:
    """The keys of one enrolled client, whose state folder this is."""

    def __init__(self, state: Folder) -> None:
        self.state = state

    def listed(self) -> list[dict[str, Any]]:
        """All keys that the ledger knows, oldest first; `own` marks the one in this folder."""
        own = keys.keyid(self._key())
        return [key | {"own": key["keyid"] == own} for key in self._ledger().own_keys()]

    def add(self, out: Path, label: str = "") -> str:
        """Make another key, written to `out` (PEM, for the owner only), and log it. Returns its ID.

        Again after an interruption, with the same file: the same key. Raises AgentError.
        """
        new = load_or_make(out)
        if keys.keyid(new) in {key["keyid"] for key in self._ledger().own_keys()}:
            return keys.keyid(new)
        said = ClientKeyAddition(client=self._client(), public_key=keys.public_hex(new), added_at=_now())
        self._change(said, new, {"label": label, "keyid": keys.keyid(new)})
        return keys.keyid(new)

    def rotate(self, label: str = "") -> str:
        """Replace this folder's key by a new one. Returns the new key's ID."""
        new = load_or_make(self.state.file(STAGED))
        said = ClientKeyRotation(
            client=self._client(),
            replaces=self._entry_of(keys.keyid(self._key())),
            public_key=keys.public_hex(new),
            rotated_at=_now(),
        )
        self._change(said, new, {"label": label, "keyid": keys.keyid(new), "install": True})
        return keys.keyid(new)

    def revoke(self, keyid: str, reason: Reason) -> str:
        """Revoke one of the client's keys, named by its ID or an unmistakable beginning. Returns the whole ID.

        Raises AgentError for this folder's own key: that one is rotated.
        """
        found = [
            key["keyid"] for key in self._ledger().own_keys() if key["valid"] and key["keyid"].startswith(keyid)
        ]
        if len(found) != 1 or not keyid:
            raise AgentError(f"{len(found)} valid keys of this client begin with {keyid!r}; `keys list` shows all")
        if found[0] == keys.keyid(self._key()):
            raise AgentError("this is the key of this folder: use `keys rotate`, or revoke it with another one")
        said = ClientKeyRevocation(
            client=self._client(), enrolled=self._entry_of(found[0]), by="client", reason=reason, revoked_at=_now()
        )
        self._change(said, None, {})
        return found[0]

    def use(self, path: Path) -> str:
        """Let this folder sign with another valid key of this client, as when its own was revoked.

        The old file stays beside it under its key ID. Raises AgentError unless the ledger takes the key.
        """
        key = keys.load_private(path)
        known = self.state.read_json("agent.json")
        who = LedgerClient(known["server"], key).me()
        if who["uuid"] != known["client"]:
            raise AgentError(f"{path} is a key of client {who['uuid']}, this folder is client {known['client']}'s")
        if keys.keyid(key) != keys.keyid(self._key()):
            self._keep_old()
            self.state.write(KEY, path.read_bytes())
        return keys.keyid(key)

    def finish(self) -> None:
        """Steps 3 to 5 of a change that was interrupted. Raises AgentError, LedgerAway."""
        if not self.state.has(CHANGE):
            return
        change = self.state.read_json(CHANGE)
        envelope = Envelope.parse(base64.b64decode(change["envelope"]))
        try:
            ref = LedgerClient(self.state.read_json("agent.json")["server"]).submit(envelope)
        except Refused as error:
            if error.status < 500:  # it says no, and not that it failed: nothing was logged
                self._drop(change)
            raise
        if change.get("install") and self.state.has(STAGED):
            self._keep_old()
            self.state.file(STAGED).replace(self.state.file(KEY))
        self._label(change)
        self.state.file(CHANGE).unlink()
        logger.info("key change logged at index %d", ref.index)

    def abandon(self) -> None:
        """Forget a change that was interrupted: a key that an officer's token brings takes its place."""
        if self.state.has(CHANGE):
            self._drop(self.state.read_json(CHANGE))

    def _change(self, said: Predicate, new: Ed25519PrivateKey | None, then: Mapping[str, Any]) -> None:
        """Steps 2 to 5. Signed by this folder's key first, then by the new one."""
        envelope = sign_statement(said, self._key())
        if new is not None:
            envelope = dsse.countersign(envelope, new)
        text = base64.b64encode(envelope.to_bytes()).decode()
        self.state.write_json(CHANGE, {"envelope": text, **then})
        self.finish()

    def _label(self, change: dict[str, Any]) -> None:
        if not change.get("label"):
            return
        try:
            self._plain_ledger().label_key(change["keyid"], change["label"])
        except Refused as error:  # a name is not worth standing still for
            logger.warning("the key has no label: %s", error)

    def _drop(self, change: dict[str, Any]) -> None:
        if change.get("install"):
            self.state.file(STAGED).unlink(missing_ok=True)
        self.state.file(CHANGE).unlink(missing_ok=True)

    def _keep_old(self) -> None:
        """Keep the key that goes: what it signed may have to be explained one day."""
        old = self.state.file(f"key.{keys.keyid(self._key())[:16]}.pem")
        if not old.exists():
            self.state.write(old.name, self.state.read(KEY))

    def _entry_of(self, keyid: str) -> LogRef:
        """Where in the log a valid key of ours began."""
        for key in self._ledger().own_keys():
            if key["keyid"] == keyid and key["valid"]:
                return LogRef.model_validate(key["since"])
        raise AgentError(f"the ledger knows no valid key {keyid[:16]}… of this client")

    def _ledger(self) -> LedgerClient:
        self.finish()
        return self._plain_ledger()

    def _plain_ledger(self) -> LedgerClient:
        return LedgerClient(self.state.read_json("agent.json")["server"], self._key())

    def _key(self) -> Ed25519PrivateKey:
        return keys.load_private(self.state.file(KEY))

    def _client(self) -> str:
        return str(self.state.read_json("agent.json")["client"])


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """The private key in a file, made if there is none: whole or not at all, as half a key would block the folder.

    Raises AgentError when the disk is full.
    """
    if not path.exists():
        with Folder(path.parent).appearing(path.name) as temporary:
            temporary.unlink()  # keys are never written over another file
            keys.save_private(keys.generate(), temporary)
    return keys.load_private(path)


def _now() -> datetime:
    return datetime.now(UTC)
