"""Coverage of an order: how many of the touched chunks must be proved, and what that catches.

    full          every touched chunk
    sampled(q)    q of them, drawn when the claim stands in the log; all of them where there are no more

A sample is drawn once: after a rejection the next attempts are at full coverage, or a client could try until the
draw suits it. With c dishonest chunks among n touched ones, q drawn without replacement hold at least one of them
with probability 1 - C(n-c, q) / C(n, q).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import perm
from typing import Annotated, Final

from pydantic import Field

FULL: Final = "full"
PATTERN: Final = r"^(full|sampled\([1-9][0-9]{0,6}\))$"
Coverage = Annotated[str, Field(pattern=PATTERN, description="full, or sampled(q)")]

#: Chances for which a verdict says how many dishonest chunks would be caught with them.
LEVELS: Final[tuple[str, ...]] = ("0.95", "0.99")
_DIGITS: Final = 6
#: More chunks than this (34 thousand million weights at 8,192 each) are not believed, and no figures made of them.
MAX_CHUNKS: Final = 1 << 22


def sample_size(coverage: str) -> int | None:
    """The q of `sampled(q)`; None for `full`. Raises ValueError for what is neither."""
    if not re.fullmatch(PATTERN, coverage, re.ASCII):
        raise ValueError(f"coverage is 'full' or 'sampled(q)' with q from 1 to 9,999,999, got {coverage!r:.100}")
    return None if coverage == FULL else int(coverage[8:-1])


def of_attempt(coverage: str, attempt: int) -> str:
    """What an attempt at an order is held to: its coverage the first time, everything after a rejection."""
    return coverage if attempt == 1 else FULL


def proofs_due(coverage: str, touched: int) -> int:
    """How many of the touched chunks must be proved."""
    size = sample_size(coverage)
    return touched if size is None else min(size, touched)


def chance(touched: int, drawn: int, dishonest: int) -> Fraction:
    """Probability that `drawn` of `touched` chunks hold at least one of the `dishonest` ones."""
    assert 0 <= drawn <= touched
    assert 0 <= dishonest <= touched
    return 1 - Fraction(*_missed(touched, drawn, dishonest))


@lru_cache(maxsize=1024)
def caught_with(touched: int, drawn: int, level: str) -> int:
    """The smallest number of dishonest chunks that is caught with probability `level` (below 1) or more."""
    if not 0 < drawn <= touched:
        raise ValueError(f"{drawn} of {touched} chunks catch nothing")
    allowed = 1 - Fraction(level)

    def caught(dishonest: int) -> bool:
        ways, all_ways = _missed(touched, drawn, dishonest)
        return ways * allowed.denominator <= allowed.numerator * all_ways

    high = 1
    while not caught(high):
        high = min(2 * high, touched)
    low = high // 2  # caught by `high`, not by `low` (or it is 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def _missed(touched: int, drawn: int, dishonest: int) -> tuple[int, int]:
    """C(n-c, q) / C(n, q), as products of min(c, q) factors: drawing and cheating may change places."""
    few, many = sorted((drawn, dishonest))
    return perm(touched - many, few), perm(touched, few)


@lru_cache(maxsize=1024)
def detection(touched: int, drawn: int) -> str:
    """Chance that a single dishonest chunk is caught, as verdicts write it: rounded down, so never too much."""
    return decimal(chance(touched, drawn, 1) if touched else Fraction(1))


def decimal(value: Fraction) -> str:
    """A number in [0, 1] with at most six places, rounded down, without trailing zeros."""
    whole = value.numerator * 10**_DIGITS // value.denominator
    if whole >= 10**_DIGITS:
        return "1"
    return f"0.{whole:0{_DIGITS}d}".rstrip("0").rstrip(".")


def worst(figures: Sequence[str]) -> str:
    """The smallest of several figures of `detection`; "1" of none."""
    return min(figures, key=Fraction, default="1")
