"""Clients: invited by an officer, enrolled by themselves, and again after a key was lost."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Final, get_args

from django.utils import timezone

from ledger import log
from ledger.models import Client, ClientKey
from ledger.statements import keys
from ledger.statements.dsse import Envelope
from ledger.statements.errors import SignatureError, StatementError
from ledger.statements.predicates import ClientEnrolment, ClientKeyRevocation
from ledger.statements.statement import Statement, open_statement
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import Accepted, exclusive, get_or_refuse, log_own, parse_envelope, replayed

REVOCATIONS: Final[tuple[str, ...]] = get_args(ClientKeyRevocation.model_fields["reason"].annotation)


@exclusive
def invite_client(name: str) -> tuple[Client, str]:
    """Make a client that may enrol once with the returned token; only the token's hash is kept.

    Raises WorkflowError: empty name (422), name taken (409).
    """
    name = name.strip()
    if not 0 < len(name) <= 200:
        raise WorkflowError("bad-name", f"a client's name has 1 to 200 characters, got {len(name)}", 422)
    if Client.objects.filter(name=name).exists():
        raise WorkflowError("name-taken", f"there is a client called {name!r} already: choose another name")
    token = secrets.token_urlsafe(32)
    return Client.objects.create(name=name, token_hash=_hash(token)), token


@exclusive
def enrol_client(envelope_bytes: bytes, token: str) -> Accepted:
    """Register a client's key: a client-enrolment signed by that key, with the invitation's token.

    Raises WorkflowError: bad envelope (400), unknown token or bad signature (401), token used (409),
    statement for another client (403), key taken (409).
    """
    envelope = parse_envelope(envelope_bytes)
    client = Client.objects.filter(token_hash=_hash(token)).first()
    if client is None:
        raise WorkflowError("unknown-token", "no invitation has this enrolment token: ask an officer for one", 401)
    try:
        # Proof of possession: the key is in the statement itself, so it is read before and verified after.
        claimed = Statement.decode(envelope.payload).predicate
        if not isinstance(claimed, ClientEnrolment):
            raise WorkflowError("wrong-kind", f"got a {claimed.slug} statement, expected client-enrolment", 422)
        public_key = keys.public_from_hex(claimed.public_key)
        open_statement(envelope, public_key)
    except SignatureError as error:
        raise WorkflowError("bad-signature", str(error), 401) from error
    except StatementError as error:
        raise WorkflowError("bad-statement", str(error), 422) from error
    return replayed(envelope) or _enrol(client, claimed, envelope)


def _enrol(client: Client, enrolment: ClientEnrolment, envelope: Envelope) -> Accepted:
    if enrolment.client != str(client.uuid):
        raise WorkflowError(
            "wrong-client",
            f"the token is for client {client.uuid}, the statement for {enrolment.client}",
            403,
        )
    if client.token_used_at is not None:
        raise WorkflowError(
            "token-used", "this enrolment token was used before: ask an officer for a new invitation"
        )
    keyid = keys.keyid(keys.public_from_hex(enrolment.public_key))
    if ClientKey.objects.filter(keyid=keyid).exists():
        raise WorkflowError("key-taken", "this key was enrolled before, here or by another client: make a new key")
    entry = log.append(envelope, keyid)
    client.public_key, client.keyid, client.enrolled_entry = enrolment.public_key, keyid, entry
    client.token_used_at = timezone.now()
    client.save()
    ClientKey.objects.create(client=client, public_key=enrolment.public_key, keyid=keyid, enrolled_entry=entry)
    return Accepted(entry, created=True)


@exclusive
def reenrol_client(client_id: uuid.UUID | str, reason: str) -> tuple[Client, str]:
    """Revoke a client's key, if it has one, and return a token with which it may enrol a new one.

    The officer must know by other means that whoever asks is the client. The revocation is logged; what the old
    key signed before it stays valid, and orders wait for the new key. Earlier tokens are void. Raises
    WorkflowError: unknown client (404), unknown reason (422).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    if reason not in REVOCATIONS:
        raise WorkflowError(
            "bad-reason", f"got the reason {reason!r:.100}, expected one of {', '.join(REVOCATIONS)}", 422
        )
    key = ClientKey.objects.filter(client=client, revoked_entry=None).first()
    if key is not None:
        key.revoked_entry = log_own(
            ClientKeyRevocation(
                client=str(client.uuid),
                enrolled=log.entry_ref(key.enrolled_entry),
                reason=reason,
                revoked_at=timezone.now(),
            )
        )
        key.save()
    token = secrets.token_urlsafe(32)
    client.public_key, client.keyid, client.enrolled_entry = "", None, None
    client.token_hash, client.token_used_at = _hash(token), None
    client.save()
    return client, token


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
