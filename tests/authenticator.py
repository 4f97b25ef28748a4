"""An app that shows codes, for tests: written after the RFCs, and not with the library that checks them."""

from __future__ import annotations

import hmac


def code_at(secret: bytes, moment: float) -> str:
    """The six digits that an authenticator app shows at a time, in seconds since 1970 (RFC 6238; RFC 4226, 5.3)."""
    digest = hmac.digest(secret, int(moment // 30).to_bytes(8, "big"), "sha1")
    first = digest[-1] & 15
    return f"{(int.from_bytes(digest[first : first + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"
