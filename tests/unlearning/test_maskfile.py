import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearning.errors import MaskError
from unlearning.maskfile import MAGIC, format_mask, parse_mask


@given(st.integers(1, 2**40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=30))))
def test_round_trip(mask):
    total, chosen = mask
    data = format_mask(total, sorted(chosen))
    got_total, indices = parse_mask(data)
    assert (got_total, indices.tolist(), indices.dtype) == (total, sorted(chosen), np.int64)
    assert format_mask(got_total, indices) == data


def test_known_bytes():
    want = b"unlearning-mask/v1\n" + bytes.fromhex(
        "00000000000001000000000000000002000000000000000300000000000000ff"
    )
    assert format_mask(256, np.array([3, 255])) == want


def test_a_changed_byte_never_reads_as_the_same_mask():
    data = format_mask(1000, [0, 5, 999])
    for position in range(len(data)):
        for flip in (1, 128):
            corrupt = bytearray(data)
            corrupt[position] ^= flip
            try:
                total, indices = parse_mask(bytes(corrupt))
            except MaskError:
                continue
            assert (total, indices.tolist()) != (1000, [0, 5, 999])
            assert format_mask(total, indices) == bytes(corrupt)


def test_every_truncation_and_extension_is_refused():
    data = format_mask(1000, [0, 5, 999])
    for length in range(len(data)):
        with pytest.raises(MaskError):
            parse_mask(data[:length])
    with pytest.raises(MaskError, match="expected 59 for 3"):
        parse_mask(data + b"\0")


@pytest.mark.parametrize(
    ("total", "indices"),
    [(0, []), (5, [5]), (5, [-1]), (5, [2, 1]), (5, [1, 1]), (5, [[1]]), (5, [1.0]), (2**62, [0]), (-1, [])],
)
def test_bad_masks_are_refused(total, indices):
    with pytest.raises(MaskError):
        format_mask(total, indices)


def test_positions_beyond_int64_are_refused():
    data = MAGIC + (10).to_bytes(8, "big") + (1).to_bytes(8, "big") + (2**63 + 1).to_bytes(8, "big")
    with pytest.raises(MaskError, match="below 2\\^62"):
        parse_mask(data)
    with pytest.raises(MaskError):
        parse_mask(MAGIC + b"\xff" * 16)


def test_needs_no_torch():
    code = "import sys, unlearning.maskfile; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
