"""LEDGER_BLOB_STORE: `s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]`.

Without `endpoint` it is Amazon's S3 in `region`. Credentials come from where AWS programs look for them:
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a web identity, an instance's role.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlsplit

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", re.ASCII)
_OPTIONS = {"endpoint", "region"}


class AddressError(ValueError):
    """LEDGER_BLOB_STORE cannot be read."""


@dataclass(frozen=True)
class Address:
    """A bucket, a prefix of all keys (empty, or ending in a slash), and where the service is."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises AddressError, which says what was expected."""
        form = "s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]"
        parts = urlsplit(text)
        if parts.scheme != "s3" or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
            raise AddressError(f"LEDGER_BLOB_STORE is {_shown(text)}, expected {form}")
        prefix = parts.path.strip("/")
        if prefix and not _PREFIX.fullmatch(prefix):
            raise AddressError(f"LEDGER_BLOB_STORE has the prefix {prefix!r}: use letters, digits and ._-")
        options = parse_qsl(parts.query, keep_blank_values=True)
        values = dict(options)
        if len(values) != len(options) or set(values) - _OPTIONS:
            raise AddressError(f"LEDGER_BLOB_STORE has the options {parts.query!r}, expected {form}")
        endpoint = values.get("endpoint")
        if endpoint is not None and urlsplit(endpoint).scheme not in {"http", "https"}:
            raise AddressError(f"LEDGER_BLOB_STORE has the endpoint {_shown(endpoint)}, expected an http(s) URL")
        return cls(parts.netloc, f"{prefix}/" if prefix else "", endpoint, values.get("region"))


def _shown(text: str) -> str:
    """Never the password of a URL that should have none."""
    return repr(re.sub(r"//[^/@]*@", "//...@", text))[:200]
