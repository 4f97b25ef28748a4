"""The ledger's settings without limits on requests: all of the benchmark's clients come from one address."""

from __future__ import annotations

from typing import Any

from ledger.settings import *  # noqa: F403
from ledger.settings import REST_FRAMEWORK as _REST

REST_FRAMEWORK: dict[str, Any] = {
    **_REST,
    "DEFAULT_THROTTLE_RATES": dict.fromkeys(_REST["DEFAULT_THROTTLE_RATES"], "1000000/second"),  # type: ignore[arg-type]
}
