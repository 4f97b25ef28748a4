"""What every use case is made of: one transaction under the log's lock, statements of our own, statements of
others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.translation import gettext as _

from ledger import keys, log
from ledger.models import Client, ClientKey, LogEntry
from ledger.statements import keys as key_format
from ledger.statements.dsse import Envelope
from ledger.statements.errors import EnvelopeError, SignatureError, StatementError
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import open_statement, sign_statement
from ledger.workflow.errors import WorkflowError

Args = ParamSpec("Args")
Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=Predicate)
Row = TypeVar("Row", bound=models.Model)


@dataclass(frozen=True)
class Accepted:
    """A statement that stands in the log: its entry, and whether this call put it there."""

    entry: LogEntry
    created: bool


@dataclass(frozen=True)
class Submission(Generic[Kind]):
    """A statement whose signature by a valid key of an enrolled client has been checked."""

    client: Client
    key: ClientKey
    envelope: Envelope
    predicate: Kind

    def append(self) -> Accepted:
        """Log it."""
        return Accepted(log.append(self.envelope, self.key.keyid), created=True)


def exclusive(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """Run `function` in one transaction that holds the log's lock from the start.

    So whatever it reads stays true until its own leaf is written, and two requests never race for one order.
    """

    @functools.wraps(function)
    def run(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        with transaction.atomic():
            log.lock()
            return function(*args, **kwargs)

    return run


def log_own(predicate: Predicate) -> LogEntry:
    """Sign a statement as the provider and append it. 422 if it does not fit into a leaf."""
    key = keys.provider_key()
    return log.append(_signed(predicate, key), key_format.keyid(key))


def log_own_in_turn(predicates: Iterable[Predicate]) -> list[LogEntry]:
    """The same for many, in their order and with nothing in between; they are held in memory together."""
    key = keys.provider_key()
    return log.append_all([_signed(predicate, key) for predicate in predicates], key_format.keyid(key))


def _signed(predicate: Predicate, key: Ed25519PrivateKey) -> Envelope:
    try:
        return sign_statement(predicate, key)
    except EnvelopeError as error:
        raise WorkflowError(
            "statement-too-large",
            _("the %(kind)s statement is too large for one log entry: %(error)s")
            % {"kind": predicate.slug, "error": error},
            422,
        ) from error


def parse_envelope(body: bytes) -> Envelope:
    """The envelope in `body`; 400 if there is none."""
    try:
        return Envelope.parse(body)
    except EnvelopeError as error:
        raise WorkflowError("bad-envelope", str(error), 400) from error


def open_submission(body: bytes, kind: type[Kind]) -> Submission[Kind]:
    """Check a client's statement: a valid key of a client, its signature, expected kind, signed for itself."""
    return verify_submission(parse_envelope(body), kind, signatures=1)


def verify_submission(envelope: Envelope, kind: type[Kind], signatures: int) -> Submission[Kind]:
    """The same for an envelope with that many signatures, of which the first is checked.

    The key ID only finds the key: what counts is that this key has signed, and that it is the client's that the
    statement names.
    """
    if len(envelope.signatures) != signatures:
        raise WorkflowError(
            "bad-envelope",
            f"expected an envelope with {signatures} signatures, got {len(envelope.signatures)}",
            400,
        )
    key = _valid_key(envelope.signatures[0].keyid)
    alone = Envelope(envelope.payload, envelope.payload_type, envelope.signatures[:1])
    try:
        statement = open_statement(alone, key_format.public_from_hex(key.public_key))
    except SignatureError as error:
        raise WorkflowError("bad-signature", str(error), 401) from error
    except StatementError as error:
        raise WorkflowError("bad-statement", str(error), 422) from error
    predicate = statement.predicate
    if not isinstance(predicate, kind):
        raise WorkflowError("wrong-kind", f"got a {predicate.slug} statement, expected {kind.slug}", 422)
    named = getattr(predicate, "client", None)
    if named != str(key.client_id):
        raise WorkflowError(
            "wrong-client",
            f"the statement speaks for client {named}, but client {key.client_id} signed it",
            403,
        )
    return Submission(key.client, key, envelope, predicate)


def _valid_key(keyid: str) -> ClientKey:
    """The key that an envelope's hint names; 401 unless it signs for a client now."""
    key = ClientKey.objects.select_related("client").filter(keyid=keyid).first()
    if key is None:
        raise WorkflowError(
            "unknown-key", f"no enrolled client has the key ID {keyid!r}: enrol first, and set keyid", 401
        )
    if key.revoked_entry_id is not None:
        raise WorkflowError(
            "key-revoked",
            f"the key {keyid} was revoked: use another key of this client, or ask an officer for a token",
            401,
        )
    return key


def replayed(envelope: Envelope) -> Accepted | None:
    """The entry of a statement that was accepted before: whoever lost our answer may send it again."""
    entry = log.find(envelope)
    return None if entry is None else Accepted(entry, created=False)


def expect_ref(ref: LogRef, entry: LogEntry, what: str) -> None:
    """Refuse (422) a statement whose reference to `what` is not `entry`."""
    if ref != log.entry_ref(entry):
        raise WorkflowError(
            "wrong-reference",
            f"the statement refers to log entry {ref.index} ({ref.leaf_hash[:12]}…) as its {what}, "
            f"expected entry {entry.index} ({bytes(entry.leaf_hash).hex()[:12]}…)",
            422,
        )


def expect_reason(reason: str, known: Collection[str]) -> None:
    """Refuse (422) a reason that is no code of its register: words about a person must not reach the log."""
    if reason not in known:
        raise WorkflowError(
            "bad-reason",
            _("got the reason %(reason)s, expected one of %(reasons)s")
            % {"reason": f"{reason!r:.100}", "reasons": ", ".join(known)},
            422,
        )


def get_or_refuse(rows: models.QuerySet[Row], what: str, **wanted: object) -> Row:
    """The one row that matches; 404 if there is none."""
    try:
        row = rows.filter(**wanted).first()
    except ValidationError:  # not even a UUID
        row = None
    if row is None:
        raise WorkflowError(
            "not-found",
            _("there is no %(what)s %(name)s: check the identifier")
            % {"what": _(what), "name": next(iter(wanted.values()))},
            404,
        )
    return row
