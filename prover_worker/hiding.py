"""How many random digits it takes to hide how often the others were looked up (docs/hiding.md, section 6).

The lookup argument commits to the number of times that each entry of the table occurs among the digits of an inner
column, and nothing in that commitment is random but the digits themselves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from prover_worker.errors import CircuitError
from prover_worker.layout import digit_base, table_columns

if TYPE_CHECKING:
    from ledger.statements.predicates.circuit_release import CircuitParameters

#: Of every column of multiplicities two field elements are seen: at the SRS's secret, and where the proof opens it.
SEEN_BITS: Final = 2 * 254
#: By how much the digits must be less predictable than what is seen: the distance from uniform is then 2^-129.
SPARE_BITS: Final = 256
#: ezkl leaves some rows at the end of a column free; where its columns end within these does not matter.
_RESERVED: Final = range(4, 33)


def spread(base: int) -> int:
    """Number of values that a random digit can take, from -base on: as many as the table is asked to hold."""
    return 2 * base - base // 8


def hidden_bits(noise: int, values: int) -> float:
    """Least min-entropy of the counts of `noise` uniform digits out of `values`: log2(values^noise / noise!)."""
    return noise * math.log2(values) - math.lgamma(noise + 1) / math.log(2)


def needed(values: int, tables: int) -> int:
    """Random digits that an inner column needs which is looked up in `tables` columns of a table.

    Raises CircuitError where the table is too small for any number of them.
    """
    wanted = tables * SEEN_BITS + SPARE_BITS
    for noise in range(1, values // 2):
        if hidden_bits(noise, values) >= wanted:
            return noise
    raise CircuitError(
        f"a table of {values} digits is too small to hide how often each of them was looked up; "
        "publish a circuit release with more rows (logrows)"
    )


def expect_hiding(p: CircuitParameters) -> None:
    """Raise CircuitError where a range proof of this release could tell something about the digits of a client.

    ezkl fills its inner columns in turn, and then as many further ones. Each that holds digits of a chunk must
    hold enough random ones, whatever number of chunks the proof is for.
    """
    tables = table_columns(p)
    want = needed(spread(digit_base(p)), tables)
    data = 3 * p.blocks * p.multipliers
    is_noise = np.tile(np.arange(data + p.noise_rows) >= data, p.range_group)
    for reserved in _RESERVED:
        area = tables * ((1 << p.logrows) - reserved)
        at = np.arange(len(is_noise))
        column = at // area * tables + at % tables
        for chunks in range(1, p.range_group + 1):
            real = slice(0, chunks * (data + p.noise_rows))
            random = np.bincount(column[real], weights=is_noise[real])
            secret = np.bincount(column[real], weights=~is_noise[real])
            got = int(random[secret > 0].min())
            if got < want:
                raise CircuitError(
                    f"the circuit release has {p.noise_rows} random digits for each chunk, of which a column of "
                    f"its lookups may hold {got}; {want} are needed to hide the multipliers, so the provider must "
                    "publish a release with more of them (noise_rows)"
                )
