"""How often a caller may ask: one bucket per caller, kept in the database, which all processes share.

A bucket follows the generic cell rate algorithm: at rate N per period it holds N requests and earns one more each
period/N. One statement reads and writes it, so requests at once cannot both take the last one.
"""

from __future__ import annotations

from typing import Final

from django.db import connection
from rest_framework.settings import api_settings

_PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}

_SPEND: Final = """
    INSERT INTO ledger_ratebucket AS bucket (name, full_until)
    VALUES (%(name)s, now() + %(step)s * interval '1 second')
    ON CONFLICT (name) DO UPDATE
    SET full_until = greatest(bucket.full_until, now()) + %(step)s * interval '1 second'
    WHERE greatest(bucket.full_until, now()) + %(step)s * interval '1 second'
          <= now() + %(period)s * interval '1 second'
    RETURNING 1
"""
_WAIT: Final = """
    SELECT extract(epoch FROM full_until - now()) + %(step)s - %(period)s
    FROM ledger_ratebucket WHERE name = %(name)s
"""


def spend(scope: str, who: str) -> float | None:
    """Take one request of `who` from its bucket; None, or the seconds until there is one again."""
    values = _values(scope, who)
    with connection.cursor() as cursor:
        cursor.execute(_SPEND, values)
        taken = cursor.fetchone() is not None
    return None if taken else _wait(values)


def exhausted(scope: str, who: str) -> float | None:
    """The seconds until `who` has a request left, None if there is one; takes nothing."""
    wait = _wait(_values(scope, who))
    return wait if wait > 0 else None


def _wait(values: dict[str, str | float]) -> float:
    with connection.cursor() as cursor:
        cursor.execute(_WAIT, values)
        row = cursor.fetchone()
    return 0.0 if row is None else max(float(row[0]), 0.0)


def _values(scope: str, who: str) -> dict[str, str | float]:
    count, period = str(api_settings.DEFAULT_THROTTLE_RATES[scope]).split("/")
    seconds = _PERIODS[period]
    return {"name": f"{scope}:{who}"[:200], "step": seconds / int(count), "period": seconds}
