"""Which witnesses a log asks, and how many of them must agree before a checkpoint is published."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ledger.tlog.cosignature import CosignatureVerifier, expect_distinct
from ledger.tlog.errors import NoteError
from ledger.witness.errors import PolicyError


@dataclass(frozen=True)
class WitnessAddress:
    """A witness: its submission prefix (no slash at the end) and its key."""

    url: str
    verifier: CosignatureVerifier

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.verifier.name

    @property
    def vkey(self) -> str:
        """The witness's verifier key."""
        return self.verifier.vkey


@dataclass(frozen=True)
class Policy:
    """The witnesses to ask, and the quorum: how many cosignatures publish a checkpoint. None: nobody is asked."""

    witnesses: tuple[WitnessAddress, ...] = ()
    quorum: int = 0

    @classmethod
    def parse(cls, witnesses: str, quorum: str = "") -> Policy:
        """Parse ``URL VKEY, URL VKEY, ...`` and a decimal number, by default more than half of them.

        Raises PolicyError: malformed, one key twice, or a quorum outside 1 to the number of witnesses.
        """
        found = tuple(_address(item) for item in witnesses.split(",") if item.strip())
        try:
            expect_distinct([witness.verifier for witness in found])
        except NoteError as error:
            raise PolicyError(str(error)) from error
        if not found:
            if witnesses.strip():
                raise PolicyError(f"a list of witnesses names at least one, got {witnesses[:200]!r}")
            if quorum.strip():
                raise PolicyError(f"a quorum of {quorum.strip()!r} needs witnesses, and there are none")
            return cls()
        if not quorum.strip():
            return cls(found, len(found) // 2 + 1)
        if not (quorum.strip().isascii() and quorum.strip().isdigit()) or not 1 <= int(quorum) <= len(found):
            raise PolicyError(f"the quorum is a number from 1 to {len(found)}, got {quorum.strip()[:20]!r}")
        return cls(found, int(quorum))


def _address(item: str) -> WitnessAddress:
    url, _, vkey = item.strip().partition(" ")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise PolicyError(f"a witness is 'URL VKEY', got {item.strip()[:200]!r}: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise PolicyError(f"a witness is 'URL VKEY' with an http or https URL, got {item.strip()[:200]!r}")
    try:
        return WitnessAddress(url.rstrip("/"), CosignatureVerifier.parse(vkey.strip()))
    except NoteError as error:
        raise PolicyError(f"the witness at {url}: {error}") from error
