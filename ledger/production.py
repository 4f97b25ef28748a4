"""What a server that strangers can reach must not be run with. System checks, and a refusal to start.

A server is taken for such a one when LEDGER_HTTPS is set, or LEDGER_ALLOWED_HOSTS names anything but this machine.

ledger.E012  DJANGO_DEBUG shows tracebacks to everybody
ledger.E013  host names: a wildcard, or names of other machines without LEDGER_HTTPS
ledger.E014  DJANGO_SECRET_KEY can be guessed
ledger.E015  the embedded database trusts every process of its user, and nothing archives its log
ledger.E016  a password that everybody knows
ledger.W017  messages are files: all workers must run on this machine
ledger.W018  a connection to another machine is not encrypted
ledger.W019  nobody outside cosigns the log
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name
from django.core.exceptions import ImproperlyConfigured

from ledger.shelf.address import Address, AddressError

#: Tag of the checks of a machine's settings and files: `manage.py check --tag configuration`.
CONFIGURATION: Final = "configuration"
_KNOWN_PASSWORDS: Final = frozenset(
    {"", "admin", "changeme", "default", "guest", "ledger", "ledger_app", "minioadmin", "password", "postgres",
     "rabbitmq", "redis", "secret", "test"}
)  # fmt: skip
_SECURE: Final = frozenset({"require", "verify-ca", "verify-full"})


def public() -> bool:
    """Whether strangers are meant to reach this server."""
    return bool(settings.HTTPS) or bool(_foreign_hosts())


def refuse_unsafe() -> None:
    """Called where web servers and workers start, which run no system checks. Raises ImproperlyConfigured."""
    errors = [found for found in check_production() if isinstance(found, Error)]
    if errors:
        listed = "\n".join(f"- {found.id}: {found.msg} ({found.hint})" for found in errors)
        raise ImproperlyConfigured(f"this server does not start with settings that are unsafe in public:\n{listed}")


@register(CONFIGURATION)
def check_production(**_: Any) -> list[CheckMessage]:
    """Everything above; nothing on a server that only this machine reaches."""
    if not public():
        return []
    return [*_check_django(), *_check_database(), *_check_broker(), *_check_blobs(), *_check_witnesses()]


def _foreign_hosts() -> list[str]:
    """Names that may be known outside; one without a dot, as a container's, is not."""
    return [name for name in settings.ALLOWED_HOSTS if name == "*" or ("." in name and not _here(name))]


def _here(host: str | None) -> bool:
    """Whether a connection to `host` stays on this machine: a Unix socket, a loopback address or its name."""
    if not host or host.startswith("/") or host.rstrip(".") == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_django() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("DJANGO_DEBUG is on", hint="unset it: tracebacks show settings", id="ledger.E012"))
    wild = [name for name in settings.ALLOWED_HOSTS if name == "*" or name.startswith(".")]
    if wild:
        hint = "name the hosts: signatures of clients cover the host name, and reset links are made from it"
        found.append(Error(f"LEDGER_ALLOWED_HOSTS holds {wild[0]!r}", hint=hint, id="ledger.E013"))
    elif not settings.HTTPS:
        hint = "put a TLS proxy in front and set LEDGER_HTTPS=1: passwords and sessions would travel in the clear"
        names = ", ".join(_foreign_hosts())
        found.append(Error(f"{names} can be reached, without LEDGER_HTTPS", hint=hint, id="ledger.E013"))
    key = str(settings.SECRET_KEY)
    if len(key) < 50 or len(set(key)) < 10 or key.startswith("django-insecure"):
        hint = "unset it (a file in the data folder takes its place) or give 64 random hex digits to all hosts"
        found.append(Error("DJANGO_SECRET_KEY is short or known", hint=hint, id="ledger.E014"))
    return found


def _check_database() -> list[CheckMessage]:
    database = settings.DATABASES["default"]
    if database["ENGINE"] == "ledger.embedded":
        hint = "run a PostgreSQL server, set DATABASE_URL, see docs/operations.md"
        return [Error("the embedded database is for trying things out", hint=hint, id="ledger.E015")]
    if _here(database.get("HOST")):
        return []
    found = _check_password("DATABASE_URL", database.get("USER"), database.get("PASSWORD"))
    if database.get("OPTIONS", {}).get("sslmode") not in _SECURE:
        found.append(_in_the_clear("DATABASE_URL", "add ?sslmode=verify-full"))
    return found


def _check_broker() -> list[CheckMessage]:
    url = urlsplit(settings.CELERY_BROKER_URL)
    if not url.scheme:
        hint = "set CELERY_BROKER_URL to use workers on several machines"
        return [Warning("messages are files in the data folder", hint=hint, id="ledger.W017")]
    if _here(url.hostname):
        return []
    found = _check_password("CELERY_BROKER_URL", url.username, unquote(url.password or ""))
    if url.scheme not in {"rediss", "amqps"}:
        found.append(_in_the_clear("CELERY_BROKER_URL", "use rediss:// or amqps://"))
    return found


def _check_blobs() -> list[CheckMessage]:
    try:
        endpoint = Address.parse(settings.LEDGER_BLOB_STORE).endpoint if settings.LEDGER_BLOB_STORE else None
    except AddressError:
        return []  # ledger.E021 says so
    url = urlsplit(endpoint or "")
    if url.scheme != "http" or _here(url.hostname):
        return []
    return [_in_the_clear("LEDGER_BLOB_STORE", "use an https endpoint")]


def _check_witnesses() -> list[CheckMessage]:
    if settings.LEDGER_WITNESSES:
        return []
    hint = "without witnesses nobody notices a log that is rewritten, or restored from an old copy"
    return [Warning("LEDGER_WITNESSES names nobody", hint=hint, id="ledger.W019")]


def _check_password(variable: str, user: str | None, password: str | None) -> list[CheckMessage]:
    if (password or "").lower() not in _KNOWN_PASSWORDS and password != user:
        return []
    hint = "choose a long random one"
    return [Error(f"{variable} has no password, or one that everybody knows", hint=hint, id="ledger.E016")]


def _in_the_clear(variable: str, hint: str) -> CheckMessage:
    return Warning(f"{variable} leads to another machine without TLS", hint=hint, id="ledger.W018")
