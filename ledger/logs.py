"""How log lines are written: as text, or as JSON for machines; never with a secret in them.

What a line is about (the HTTP request, the Celery task, the job) is kept in `about` and stands in every line that
is written meanwhile, in JSON as fields. A request's id goes with the messages that it sends to workers, so the
lines of one cause can be found together.

Nothing that is logged on purpose holds a secret or a person's name. `redact` is the second line of defence, for
what comes by accident: libraries' error texts, addresses with passwords, rows in a database's complaints.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

#: What happened and who did it, for whoever watches: every row of ledger.models.events, and logins. JSON only.
AUDIT: Final = logging.getLogger("ledger.audit")
#: One line for each HTTP request. JSON only.
HTTP: Final = logging.getLogger("ledger.http")

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - replaced, never changed

_SHOWN: Final = 8  # of a digest or token: enough to find it by, of no use otherwise
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_HEX: Final = re.compile(rf"(?<![0-9A-Fa-f])([0-9A-Fa-f]{{{_SHOWN}}})[0-9A-Fa-f]{{32,}}")
_RECOVERY: Final = re.compile(r"(?<![0-9A-Za-z-])[a-z2-7]{4}(?:-[a-z2-7]{4}){3}(?![0-9A-Za-z-])")
_WEBHOOK: Final = re.compile(r"(whsec_)[A-Za-z0-9+/=]+")
_LOG_KEY: Final = re.compile(r"PRIVATE\+KEY\+\S+")  # signers of the note format
_LOGIN: Final = re.compile(r"(//[^/\s:@]*:)[^/\s]+@")
_SECRETS: Final = (
    "password passwd secret token api_key apikey api-key authorization cookie sessionid csrftoken signature "
    "__Host-session __Host-csrf ledger-device"
)
_NAMED: Final = re.compile(
    rf"""(?ix) ( \b (?: {"|".join(_SECRETS.split())} ) ["']? \s* [=:] \s* (?: (?: bearer | basic ) \s+ )? )
    (?: "[^"\n]*" | '[^'\n]*' | [^\s"',;&}}]+ )"""
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9_.+/=-]{8,}")
_ROW: Final = re.compile(r"(DETAIL: [^\n\\]*?[=(]\s*\()[^\n\\]*\)|(Failing row contains \()[^\n\\]*\)")


def redact(text: str) -> str:
    """The text without private keys, tokens, passwords, cookies, and the values in PostgreSQL's error details.

    Digests are shortened, because a token of the same length cannot be told from them.
    """
    text = _PEM.sub("[private key]", text)
    text = _LOG_KEY.sub("[private key]", text)
    text = _LOGIN.sub(r"\1***@", text)
    text = _WEBHOOK.sub(r"\1***", text)
    text = _BEARER.sub(r"\1 ***", text)
    text = _NAMED.sub(r"\1***", text)
    text = _ROW.sub(lambda found: f"{found[1] or found[2]}***)", text)
    text = _RECOVERY.sub("[recovery code]", text)
    return _HEX.sub(r"\1…", text)


@contextmanager
def about(**what: str) -> Iterator[None]:
    """Say in every line what it is about, while the block runs."""
    token = _about.set({**_about.get(), **what})
    try:
        yield
    finally:
        _about.reset(token)


def begin(**what: str) -> None:
    """The same from now on, until `begin` is called again: for signals that say when, and leave no block."""
    _about.set(what)


def current(name: str) -> str | None:
    """What the lines of now are about under this name, as "request"."""
    return _about.get().get(name)


class Lines(logging.Formatter):
    """Text: time, level, name, message, and the request or task in brackets."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, secrets taken out."""
        what = " ".join(f"[{name} {value}]" for name, value in _about.get().items() if name in ("request", "job"))
        line = super().format(record)
        return redact(f"{line} {what}" if what and "\n" not in line else line)


class JsonLines(JsonFormatter):
    """One JSON object a line: time, level, logger, message, what it is about, what the record carries beside."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s", timestamp="time", json_ensure_ascii=False,
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
        )  # fmt: skip

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """The record's fields, and those of `about`."""
        super().add_fields(log_data, record, message_dict)
        log_data |= _about.get()

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Secrets are taken out of each text, before quotes and line ends are escaped."""
        return {name: _clean(value) for name, value in log_data.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value
