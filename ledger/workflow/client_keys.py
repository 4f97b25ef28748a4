"""A client's keys: one more, a new one for an old one, one less. Any valid key signs for the client."""

from __future__ import annotations

import uuid
from typing import Final, get_args

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log
from ledger.models import Client, ClientKey
from ledger.statements import keys
from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.predicates import ClientKeyAddition, ClientKeyRevocation, ClientKeyRotation
from ledger.statements.predicates.base import LogRef
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor, client_actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import (
    Accepted,
    Submission,
    exclusive,
    expect_reason,
    get_or_refuse,
    log_own,
    open_submission,
    parse_envelope,
    replayed,
    verify_submission,
)

REASONS: Final[tuple[str, ...]] = get_args(ClientKeyRevocation.model_fields["reason"].annotation)
MAX_KEYS: Final = 8  # valid at once; whoever needs more has more than one client
MAX_LABEL: Final = 100


@exclusive
def add_key(body: bytes) -> Accepted:
    """Log a client-key-addition, signed by one of the client's valid keys and then by the new one.

    Raises WorkflowError: bad envelope (400), a signature that is missing or by a revoked key (401), another
    client's (403), key in use before or too many keys (409).
    """
    envelope = parse_envelope(body)
    if (known := replayed(envelope)) is not None:
        return known  # whoever lost our answer may have revoked the first key since
    submission = verify_submission(envelope, ClientKeyAddition, signatures=2)
    client, said = submission.client, submission.predicate
    keyid = _expect_possession(envelope, said.public_key)
    if client.keys.filter(revoked_entry=None).count() >= MAX_KEYS:
        raise WorkflowError(
            "too-many-keys",
            _("client %(uuid)s has %(max_keys)s valid keys: revoke one first")
            % {"uuid": client.uuid, "max_keys": MAX_KEYS},
        )
    accepted = submission.append()
    ClientKey.objects.create(client=client, public_key=said.public_key, keyid=keyid, enrolled_entry=accepted.entry)
    _record("client.key-added", submission, accepted, keyid)
    return accepted


@exclusive
def rotate_key(body: bytes) -> Accepted:
    """Log a client-key-rotation, signed by the key that goes and then by the one that comes.

    Raises WorkflowError as `add_key` does, and 422 unless it replaces the key that signed first.
    """
    envelope = parse_envelope(body)
    if (known := replayed(envelope)) is not None:
        return known  # the first key is revoked by this very statement
    submission = verify_submission(envelope, ClientKeyRotation, signatures=2)
    client, said, old = submission.client, submission.predicate, submission.key
    if said.replaces != log.entry_ref(old.enrolled_entry):
        raise WorkflowError(
            "wrong-reference",
            _(
                "the statement replaces the key of log entry %(index)s, but the key of entry "
                "%(enrolled_entry_id)s signed it"
            )
            % {"index": said.replaces.index, "enrolled_entry_id": old.enrolled_entry_id},
            422,
        )
    keyid = _expect_possession(envelope, said.public_key)
    accepted = submission.append()
    old.revoked_entry = accepted.entry
    old.save()
    ClientKey.objects.create(
        client=client, public_key=said.public_key, keyid=keyid, label=old.label, enrolled_entry=accepted.entry
    )
    _record("client.key-rotated", submission, accepted, keyid)
    return accepted


@exclusive
def revoke_own_key(body: bytes) -> Accepted:
    """Log a client's revocation of one of its keys, signed by any valid one, itself included.

    Raises WorkflowError: not signed by a valid key (401), for another client (403), not a valid key of this
    client (422), its last key (409).
    """
    envelope = parse_envelope(body)
    if (known := replayed(envelope)) is not None:
        return known  # the key that signed may be the one that was revoked
    submission = open_submission(body, ClientKeyRevocation)
    client, said = submission.client, submission.predicate
    if said.by != "client":
        raise WorkflowError("wrong-statement", _('a client\'s own revocation says "by": "client"'), 422)
    key = _key_behind(client, said.enrolled)
    if client.keys.filter(revoked_entry=None).count() == 1:
        raise WorkflowError(
            "last-key",
            _(
                "this is the client's last key, without which it could never come back: rotate it, "
                "or let an officer re-enrol the client"
            ),
        )
    accepted = submission.append()
    key.revoked_entry = accepted.entry
    key.save()
    _record("client.key-revoked", submission, accepted, key.keyid)
    return accepted


@exclusive
def revoke_client_key(client_id: uuid.UUID | str, keyid: str, reason: str, *, actor: Actor = SYSTEM) -> ClientKey:
    """An officer revokes one key of a client, its last one too. Again for the same key: nothing happens.

    Raises WorkflowError: unknown client or key (404), unknown reason (422).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    key = get_or_refuse(client.keys.select_related("enrolled_entry"), f"key of client {client.uuid}", keyid=keyid)
    expect_reason(reason, REASONS)
    if key.revoked_entry_id is None:
        revoke_by_provider(key, reason, actor)
    return key


def revoke_by_provider(key: ClientKey, reason: str, actor: Actor) -> None:
    """Log the revocation of a valid key as the provider; under the log's lock."""
    key.revoked_entry = log_own(
        ClientKeyRevocation(
            client=str(key.client_id),
            enrolled=log.entry_ref(key.enrolled_entry),
            reason=reason,
            revoked_at=timezone.now(),
        )
    )
    key.save()
    events.record(
        "client.key-revoked", actor=actor, client=key.client_id, entry=key.revoked_entry, data={"keyid": key.keyid}
    )


def label_key(client: Client, keyid: str, label: str) -> ClientKey:
    """Call one of the client's keys something; the label is kept here only. 404, 422."""
    label = label.strip()
    if len(label) > MAX_LABEL:
        raise WorkflowError(
            "bad-label",
            _("a label has at most %(max_label)s characters, got %(label)s")
            % {"max_label": MAX_LABEL, "label": len(label)},
            422,
        )
    key = get_or_refuse(client.keys.all(), f"key of client {client.uuid}", keyid=keyid)
    key.label = label
    key.save(update_fields=["label"])
    return key


def _expect_possession(envelope: Envelope, public_key: str) -> str:
    """The new key's ID, if it is new and has signed the envelope too."""
    try:
        key = keys.public_from_hex(public_key)
        Envelope(envelope.payload, envelope.payload_type, envelope.signatures[1:]).verify(key)
    except StatementError as error:
        raise WorkflowError(
            "bad-signature", _("the new key has not signed: %(error)s") % {"error": error}, 401
        ) from error
    keyid = keys.keyid(key)
    if ClientKey.objects.filter(keyid=keyid).exists():
        raise WorkflowError(
            "key-taken", _("this key was enrolled before, here or by another client: make a new key")
        )
    return keyid


def _key_behind(client: Client, brought: LogRef) -> ClientKey:
    key = client.keys.filter(revoked_entry=None, enrolled_entry=log.resolve(brought)).first()
    if key is None:
        raise WorkflowError(
            "wrong-reference",
            _("log entry %(index)s brought no key that is valid for client %(uuid)s")
            % {"index": brought.index, "uuid": client.uuid},
            422,
        )
    return key


def _record(
    kind: str,
    submission: Submission[ClientKeyAddition] | Submission[ClientKeyRotation] | Submission[ClientKeyRevocation],
    accepted: Accepted,
    keyid: str,
) -> None:
    client = submission.client
    events.record(kind, actor=client_actor(client), client=client.uuid, entry=accepted.entry, data={"keyid": keyid})
