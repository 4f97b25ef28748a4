import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning.errors import MaskError
from unlearning.maskfile import (
    CPU_MS_PER_WEIGHT,
    MAGIC,
    PROOF_BYTES_PER_CHUNK,
    Mask,
    cost,
    format_mask,
    parse_mask,
    read_mask,
)

MASKS = st.tuples(st.integers(1, 2**40), st.integers(1, 2**24)).flatmap(
    lambda n: st.tuples(st.just(n[0]), st.sets(st.integers(0, n[0] - 1), max_size=30), st.just(n[1]))
)


@settings(deadline=None)
@given(MASKS)
def test_round_trip(mask):
    total, chosen, chunk = mask
    data = format_mask(total, sorted(chosen), chunk)
    got = read_mask(data)
    assert (got.total, got.chunk, got.indices.tolist(), got.indices.dtype) == (
        total,
        chunk,
        sorted(chosen),
        np.int64,
    )
    assert got.touched.tolist() == sorted({i // chunk for i in chosen})
    assert parse_mask(data)[1].tolist() == sorted(chosen)
    assert format_mask(got.total, got.indices, got.chunk) == data


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.integers(50, 700), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_round_trip_of_dense_masks(total, chunk, share, seed):
    indices = np.flatnonzero(np.random.default_rng(seed).random(total) < share)
    assert np.array_equal(parse_mask(format_mask(total, indices, chunk))[1], indices)


def test_known_bytes():
    head = b"unlearning-mask/v2\n" + bytes.fromhex("0000000000000400 00000100 000000000000002b 00000002")
    gaps = bytes.fromhex("00 06 03 c701 00")  # chunk 0: 3 weights, at 3, 203 and 204
    bitmap = bytes.fromhex("01 51") + b"\xff" * 5 + bytes(27)  # chunk 2: 40 weights, after one that is untouched
    assert format_mask(1024, [3, 203, 204, *range(512, 552)], 256) == head + gaps + bitmap


def test_a_changed_byte_never_reads_as_the_same_mask():
    masks = [(1000, [0, 5, 999], 100), (1000, [*range(64), 70, 999], 128)]
    for total, indices, chunk in masks:
        data = format_mask(total, indices, chunk)
        for position in range(len(data)):
            for flip in (1, 2, 16, 128):
                corrupt = bytearray(data)
                corrupt[position] ^= flip
                try:
                    got = read_mask(bytes(corrupt))
                except MaskError:
                    continue
                assert (got.total, got.chunk, got.indices.tolist()) != (total, chunk, indices)
                assert format_mask(got.total, got.indices, got.chunk) == bytes(corrupt)


def test_every_truncation_and_extension_is_refused():
    for data in (format_mask(1000, [0, 5, 999], 100), format_mask(1000, range(1000), 512)):
        for length in range(len(data)):
            with pytest.raises(MaskError):
                parse_mask(data[:length])
        with pytest.raises(MaskError, match=f"has {len(data) + 1} bytes"):
            parse_mask(data + b"\0")


def head(total, chunk, count, touched):
    return (
        MAGIC
        + total.to_bytes(8, "big")
        + chunk.to_bytes(4, "big")
        + count.to_bytes(8, "big")
        + touched.to_bytes(4, "big")
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (head(16, 16, 2, 1) + b"\x00\x05\xc0\x00", "the shorter"),  # a bitmap where two gaps take as little
        (head(16, 16, 1, 1) + b"\x00\x02\x83\x00", "too long"),  # 3 as two bytes
        (head(16, 16, 1, 1) + b"\x80\x00\x02\x03", "too long"),
        (head(16, 8, 1, 1) + b"\x02\x02\x00", "chunk 2"),
        (head(16, 8, 0, 1) + b"\x00\x00", "0 masked ones"),
        (head(16, 8, 9, 1) + b"\x00\x13\xff", "9 masked ones"),
        (head(12, 12, 8, 1) + b"\x00\x11\xff\x01", "do not fit|miscounted"),  # a bit beyond the last weight
        (head(16, 8, 1, 1) + b"\x00\x02\x08", "expected below 8"),
        (head(16, 16, 2, 1) + b"\x00\x04\x08\x08", "do not fit"),
        (head(16, 8, 2, 1) + b"\x00\x02\x00", "1 weights"),
        (head(16, 8, 1, 3) + b"\x00\x02\x00", "3 chunks"),
        (head(16, 0, 0, 0), "chunks of 0"),
        (head(16, 2**24 + 1, 0, 0), "2\\^24"),
        (head(2**63, 8, 0, 0), "2\\^62"),
        (head(2**61, 8, 2**60, 2**31) + b"\x00", "more than it can hold"),
        (b"unlearning-mask/v1\n" + bytes(16), "begins b'unlearning-mask/v2"),
    ],
)
def test_other_spellings_are_refused(data, message):
    with pytest.raises(MaskError, match=message):
        read_mask(data)


@pytest.mark.parametrize(
    ("total", "indices"),
    [(0, []), (5, [5]), (5, [-1]), (5, [2, 1]), (5, [1, 1]), (5, [[1]]), (5, [1.0]), (2**62, [0]), (-1, [])],
)
def test_bad_masks_are_refused(total, indices):
    with pytest.raises(MaskError):
        format_mask(total, indices)


def test_a_mask_of_four_per_cent_takes_about_a_byte_a_position_and_a_dense_one_a_bit_a_weight():
    rng = np.random.default_rng(0)
    sparse = np.flatnonzero(rng.random(10**6) < 0.04)
    assert len(format_mask(10**6, sparse)) < 1.02 * len(sparse)
    dense = np.flatnonzero(rng.random(10**6) < 0.4)
    assert len(format_mask(10**6, dense)) < 10**6 / 8 + 1000


def test_cost_is_counted_in_touched_chunks():
    mask = read_mask(format_mask(10 * 8192, [0, 1, 8191, 50_000]))
    assert (mask.chunks, mask.touched.tolist()) == (10, [0, 6])
    assert cost(mask) == (pytest.approx(2 * 8.192 * CPU_MS_PER_WEIGHT), 2 * PROOF_BYTES_PER_CHUNK)
    finer = read_mask(format_mask(10 * 8192, [0, 1, 8191, 50_000], 4096))
    assert cost(finer).cpu_seconds == pytest.approx(3 * 4.096 * CPU_MS_PER_WEIGHT)
    assert cost(mask, 3, 100.4) == (6, 201)
    assert isinstance(mask, Mask)


def test_needs_no_torch():
    code = "import sys, unlearning.maskfile; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
