"""System checks: misconfiguration is reported before it hurts.

ledger.W001  a key is missing: run `manage.py init`
ledger.E002  a key file cannot be used (wrong kind, or others may read it)
ledger.E003  the data folder cannot be written
ledger.E004  LEDGER_ORIGIN cannot be a log's name
ledger.E005  LEDGER_MASTER_KEY or LEDGER_MASTER_KEY_PREVIOUS is not 64 hex digits
ledger.E006  LEDGER_KMS names no key manager
ledger.E007  LEDGER_WEBHOOKS_ALLOW_PRIVATE is set where LEDGER_HTTPS is: that is production
ledger.W008  no second factor is required where LEDGER_HTTPS is set: that is production
ledger.W009  nobody can report a weakness: LEDGER_SECURITY_CONTACT is missing where LEDGER_HTTPS is set
ledger.E010  LEDGER_WITNESSES or LEDGER_WITNESS_QUORUM makes no sense
ledger.E011  LEDGER_SECURITY_CONTACT is no address
ledger.E012 to W019: see ledger.production
ledger.E021  LEDGER_BLOB_STORE cannot be read
ledger.W022  traces are asked for, and their packages are not installed
"""

from __future__ import annotations

import os
import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from ledger import keys, traces
from ledger.kms import KmsError, key_manager
from ledger.production import CONFIGURATION
from ledger.shelf.address import Address, AddressError
from ledger.statements.errors import KeyMaterialError
from ledger.statements.keys import load_private
from ledger.tlog.errors import NoteError
from ledger.witness.errors import PolicyError
from ledger.witness.policy import Policy


@register(CONFIGURATION)
def check_keys(**_: Any) -> list[CheckMessage]:
    """W001, E002 and E004: the keys exist and can be used."""
    problems: list[CheckMessage] = []
    for name, load in (
        (keys.LOG, keys.stored_signer),
        (keys.PROVIDER, lambda: load_private(keys.path(keys.PROVIDER))),
    ):
        if not keys.path(name).exists():
            hint = "run `python manage.py init`"
            # Only a warning: an error would stop `init` and `migrate` themselves.
            problems.append(Warning(f"{keys.path(name)} does not exist", hint=hint, id="ledger.W001"))
            continue
        try:
            load()
        except KeyMaterialError as error:
            problems.append(Error(str(error), id="ledger.E002"))
        except NoteError as error:
            problems.append(Error(f"LEDGER_ORIGIN is no log name: {error}", id="ledger.E004"))
    return problems


@register(CONFIGURATION)
def check_webhooks(**_: Any) -> list[CheckMessage]:
    """E007: a public server must not be led into its own network."""
    if not (settings.LEDGER_WEBHOOKS_ALLOW_PRIVATE and settings.HTTPS):
        return []
    hint = "unset it: webhooks could otherwise be pointed at services inside your network"
    return [Error("LEDGER_WEBHOOKS_ALLOW_PRIVATE is set beside LEDGER_HTTPS", hint=hint, id="ledger.E007")]


@register(CONFIGURATION)
def check_second_factor(**_: Any) -> list[CheckMessage]:
    """W008: a password alone opens a public server."""
    if settings.LEDGER_SECOND_FACTOR or not settings.HTTPS:
        return []
    hint = "unset LEDGER_SECOND_FACTOR: accounts without one are led to the page where they set it up"
    return [Warning("LEDGER_SECOND_FACTOR is off beside LEDGER_HTTPS", hint=hint, id="ledger.W008")]


@register(CONFIGURATION)
def check_security_contact(**_: Any) -> list[CheckMessage]:
    """W009 and E011: people who find a weakness learn whom to tell."""
    contact = settings.LEDGER_SECURITY_CONTACT
    if not contact and settings.HTTPS:
        hint = "set it to an address that somebody reads: mailto:security@example.org, or a page by https"
        return [Warning("LEDGER_SECURITY_CONTACT is not set", hint=hint, id="ledger.W009")]
    if contact and not re.fullmatch(r"(mailto:[^\s@]+@[^\s@]+|https://\S+)", contact):
        got = f"got LEDGER_SECURITY_CONTACT={contact[:80]!r}, expected mailto:NAME@HOST or https://..."
        return [Error(got, id="ledger.E011")]
    return []


@register(CONFIGURATION)
def check_data_dir(**_: Any) -> list[CheckMessage]:
    """E003: keys, blobs and queue need a folder that we may write."""
    folder = settings.LEDGER_DATA_DIR
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return []
    hint = "set LEDGER_DATA_DIR to a folder of this user"
    return [Error(f"the data folder {folder} cannot be written", hint=hint, id="ledger.E003")]


@register(CONFIGURATION)
def check_master_key(**_: Any) -> list[CheckMessage]:
    """E005: the vault's master keys have 32 bytes. E006: LEDGER_KMS names a key manager."""
    problems: list[CheckMessage] = []
    for name in ("LEDGER_MASTER_KEY", "LEDGER_MASTER_KEY_PREVIOUS"):
        text = getattr(settings, name)
        if text and not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            problems.append(Error(f"{name} needs 64 hex digits, got {len(text)} characters", id="ledger.E005"))
    try:
        key_manager()
    except KmsError as error:
        problems.append(Error(str(error), id="ledger.E006"))
    return problems


@register(CONFIGURATION)
def check_witnesses(**_: Any) -> list[CheckMessage]:
    """E010: the witnesses and their quorum can be read."""
    try:
        Policy.parse(settings.LEDGER_WITNESSES, settings.LEDGER_WITNESS_QUORUM)
    except PolicyError as error:
        return [Error(str(error), hint="see docs/operations.md, Witnesses", id="ledger.E010")]
    return []


@register(CONFIGURATION)
def check_blob_store(**_: Any) -> list[CheckMessage]:
    """E021: the object store's address can be read; whether it answers is not asked here."""
    try:
        if settings.LEDGER_BLOB_STORE:
            Address.parse(settings.LEDGER_BLOB_STORE)
    except AddressError as error:
        return [Error(str(error), hint="see docs/operations.md, Several machines", id="ledger.E021")]
    return []


@register(CONFIGURATION)
def check_traces(**_: Any) -> list[CheckMessage]:
    """W022: a collector is named, and nothing will be sent to it."""
    if traces.installed() or not traces.wanted():
        return []
    hint = 'install "unlearning-ledger[server,traces]", or unset the variable'
    return [
        Warning("OTEL_EXPORTER_OTLP_ENDPOINT is set without the packages of traces", hint=hint, id="ledger.W022")
    ]
