"""Clients: invited by an officer, enrolled by themselves, again after their keys were lost, and retired."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log
from ledger.models import Client, ClientKey, ClientModel
from ledger.statements import keys
from ledger.statements.dsse import Envelope
from ledger.statements.errors import SignatureError, StatementError
from ledger.statements.predicates import ClientEnrolment, ClientRetirement
from ledger.statements.statement import Statement, open_statement
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor, client_actor
from ledger.workflow.client_keys import REASONS, revoke_by_provider
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import (
    Accepted,
    exclusive,
    expect_reason,
    get_or_refuse,
    log_own,
    parse_envelope,
    replayed,
)
from ledger.workflow.unsettled import refuse_while_ordered

MAX_INVITATION_DAYS: Final = 365


@exclusive
def invite_client(name: str, days: int | None = None, *, actor: Actor = SYSTEM) -> tuple[Client, str]:
    """Make a client that may enrol once, within `days`, with the returned token; only the token's hash is kept.

    Raises WorkflowError: empty name, days out of range (422), name taken (409).
    """
    name = name.strip()
    if not 0 < len(name) <= 200:
        raise WorkflowError(
            "bad-name", _("a client's name has 1 to 200 characters, got %(name)s") % {"name": len(name)}, 422
        )
    if Client.objects.filter(name=name).exists():
        raise WorkflowError(
            "name-taken", _("there is a client called %(name)s already: choose another name") % {"name": repr(name)}
        )
    token, until = _random_token(), _until(days)
    client = Client.objects.create(name=name, token_hash=_hash(token), token_expires_at=until)
    events.record("client.invited", actor=actor, client=client.uuid)
    return client, token


@exclusive
def reissue_token(
    client_id: uuid.UUID | str, days: int | None = None, *, actor: Actor = SYSTEM
) -> tuple[Client, str]:
    """A new enrolment token for a client that has no valid key; earlier ones are void from now on.

    Raises WorkflowError: unknown client (404), enrolled or retired (409), days out of range (422).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    state = client.state_at(timezone.now())
    if state == Client.State.ENROLLED:
        raise WorkflowError(
            "enrolled",
            _("client %(uuid)s has a valid key: it adds keys itself; re-enrol it if all are lost")
            % {"uuid": client.uuid},
        )
    return client, _new_token(client, days, actor)


@exclusive
def enrol_client(envelope_bytes: bytes, token: str) -> Accepted:
    """Register a client's key: a client-enrolment signed by that key, with the invitation's token.

    Raises WorkflowError: bad envelope (400), unknown or expired token or bad signature (401), token used (409),
    statement for another client (403), key taken (409).
    """
    envelope = parse_envelope(envelope_bytes)
    client = Client.objects.filter(token_hash=_hash(token)).first()
    if client is None:
        raise WorkflowError(
            "unknown-token", _("no invitation has this enrolment token: ask an officer for one"), 401
        )
    try:
        # Proof of possession: the key is in the statement itself, so it is read before and verified after.
        claimed = Statement.decode(envelope.payload).predicate
        if not isinstance(claimed, ClientEnrolment):
            raise WorkflowError(
                "wrong-kind", _("got a %(slug)s statement, expected client-enrolment") % {"slug": claimed.slug}, 422
            )
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
            _("the token is for client %(uuid)s, the statement for %(client)s")
            % {"uuid": client.uuid, "client": enrolment.client},
            403,
        )
    if client.token_used_at is not None:
        raise WorkflowError(
            "token-used", _("this enrolment token was used before: ask an officer for a new invitation")
        )
    if client.token_expires_at <= timezone.now():
        raise WorkflowError(
            "token-expired",
            _("this enrolment token expired at %(token_expires_at)s: ask for another one")
            % {"token_expires_at": f"{client.token_expires_at:%Y-%m-%dT%H:%M:%SZ}"},
            401,
        )
    keyid = keys.keyid(keys.public_from_hex(enrolment.public_key))
    if ClientKey.objects.filter(keyid=keyid).exists():
        raise WorkflowError(
            "key-taken", _("this key was enrolled before, here or by another client: make a new key")
        )
    entry = log.append(envelope, keyid)
    client.enrolled_entry, client.token_used_at = entry, timezone.now()
    client.save()
    ClientKey.objects.create(client=client, public_key=enrolment.public_key, keyid=keyid, enrolled_entry=entry)
    events.record("client.enrolled", actor=client_actor(client), client=client.uuid, entry=entry)
    return Accepted(entry, created=True)


@exclusive
def reenrol_client(
    client_id: uuid.UUID | str, reason: str, days: int | None = None, *, actor: Actor = SYSTEM
) -> tuple[Client, str]:
    """Revoke all keys of a client and return a token with which it may enrol a new one.

    The officer must know by other means that whoever asks is the client. The revocations are logged; what the old
    keys signed before stays valid, and orders wait for the new key. Earlier tokens are void. Raises
    WorkflowError: unknown client (404), unknown reason (422), retired (409).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    expect_reason(reason, REASONS)
    _expect_not_retired(client)
    for key in client.keys.filter(revoked_entry=None).select_related("enrolled_entry"):
        revoke_by_provider(key, reason, actor)
    return client, _new_token(client, days, actor)


@exclusive
def retire_client(client_id: uuid.UUID | str, *, actor: Actor = SYSTEM) -> Client:
    """A client takes no further part: its keys end, its models get no more orders. Again: nothing happens.

    Raises WorkflowError: unknown client (404), an order that binds it still (409).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    if client.retired_entry is not None:
        return client
    refuse_while_ordered(client, None, _("a client is retired when none of its orders is open"))
    entry = log_own(ClientRetirement(client=str(client.uuid), retired_at=timezone.now()))
    client.keys.filter(revoked_entry=None).update(revoked_entry=entry)
    client.models.filter(state=ClientModel.State.CURRENT).update(state=ClientModel.State.RETIRED)
    client.retired_entry, client.token_expires_at = entry, timezone.now()
    client.save()
    events.record("client.retired", actor=actor, client=client.uuid, entry=entry)
    return client


def _new_token(client: Client, days: int | None, actor: Actor) -> str:
    _expect_not_retired(client)
    token = _random_token()
    client.token_hash, client.token_used_at, client.token_expires_at = _hash(token), None, _until(days)
    client.save()
    events.record("client.token-issued", actor=actor, client=client.uuid)
    return token


def _expect_not_retired(client: Client) -> None:
    if client.retired_entry_id is not None:
        raise WorkflowError(
            "client-retired", _("client %(uuid)s was retired: invite it under another name") % {"uuid": client.uuid}
        )


def _random_token() -> str:
    """256 random bits in hex: it goes into command lines, where a word must not begin with a hyphen."""
    return secrets.token_hex(32)


def _until(days: int | None) -> datetime:
    valid = settings.LEDGER_INVITATION_DAYS if days is None else days
    if not 1 <= valid <= MAX_INVITATION_DAYS:
        raise WorkflowError(
            "bad-days",
            _("an invitation is good for 1 to %(max_invitation_days)s days, got %(valid)s")
            % {"max_invitation_days": MAX_INVITATION_DAYS, "valid": valid},
            422,
        )
    return timezone.now() + timedelta(days=valid)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
