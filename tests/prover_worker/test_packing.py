"""Packed proofs: one form for every string of bytes, shorter where points stand."""

import random

import pytest

from prover_worker import curve
from prover_worker.errors import BundleError
from prover_worker.packing import pack, unpack

GENERATOR = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
LOWER = (1).to_bytes(32, "big") + (curve.Q - 2).to_bytes(32, "big")
SCALAR = (7).to_bytes(32, "big")


@pytest.mark.parametrize(
    "proof",
    [
        b"", b"x", bytes(31), bytes(32), bytes(64), GENERATOR, LOWER + SCALAR + GENERATOR, GENERATOR[:-1],
        SCALAR + GENERATOR + b"end", SCALAR * 3, GENERATOR * 5 + SCALAR * 4 + LOWER * 2,
        (curve.Q + 1).to_bytes(32, "big") + GENERATOR,
    ],
)  # fmt: skip
def test_round_trip(proof):
    assert unpack(pack(proof)) == proof


def test_real_proofs_become_a_fifth_shorter(bundle):
    for proof in (*bundle.relations.values(), *bundle.ranges.values()):
        packed = pack(proof)
        assert unpack(packed) == proof
        assert len(packed) < 0.8 * len(proof)


def test_whatever_unpacks_is_the_one_form_of_it(bundle):
    """Every byte of a packed proof changed, and random lengths: refused, or another proof."""
    rng, packed = random.Random(0), pack(bundle.ranges[0])
    for place in {*range(8), *rng.sample(range(len(packed)), 150)}:
        forged = packed[:place] + bytes([packed[place] ^ rng.randrange(1, 256)]) + packed[place + 1 :]
        try:
            proof = unpack(forged)
        except BundleError:
            continue
        assert proof != bundle.ranges[0]
        assert pack(proof) == forged


def u16(*numbers):
    return b"".join(number.to_bytes(2, "big") for number in numbers)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no room"),
        (b"\x20" + bytes(40), "no room"),
        (b"\x01", "no room"),
        (b"\0\0", "ends inside a run"),
        (b"\0" + u16(1) + SCALAR[:31], "ends inside a run of 1"),
        (b"\0" + u16(0, 2) + SCALAR, "ends inside a run of 2"),
        (b"\0" + u16(1) + b"\xff" * 32 + u16(0), "holds no point"),
        (b"\0" + u16(0, 2) + GENERATOR, "not packed as it must be"),
        (b"\0" + u16(0, 0), "not packed as it must be"),
        (b"\0" + u16(0, 1) + SCALAR + u16(0, 1) + SCALAR, "not packed as it must be"),
    ],
)
def test_other_forms_are_refused(data, reason):
    with pytest.raises(BundleError, match=reason):
        unpack(data)
