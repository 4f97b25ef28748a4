import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover_worker.bundle import ProofBundle, format_bundle, parse_bundle
from prover_worker.errors import BundleError

keys = st.integers(0, 2**32 - 1)
sections = st.dictionaries(keys, st.binary(max_size=20), max_size=4)
bundles = st.builds(ProofBundle, sections, sections)
SMALL = ProofBundle({0: b"first", 7: b""}, {3: b"range"})


@given(bundles)
def test_round_trip(bundle):
    assert parse_bundle(format_bundle(bundle)) == bundle


@given(bundles, st.binary(max_size=200))
def test_whatever_parses_is_the_one_encoding(bundle, noise):
    for data in (noise, b"unlearning-proof/v2\n" + noise, format_bundle(bundle)[: len(noise)] + noise):
        try:
            parsed = parse_bundle(data)
        except BundleError:
            continue
        assert format_bundle(parsed) == data


def test_every_corrupted_byte_is_refused_or_seen():
    data = format_bundle(SMALL)
    for i in range(len(data)):
        for change in (1, 0x80, 0xFF):
            corrupted = data[:i] + bytes([data[i] ^ change]) + data[i + 1 :]
            with contextlib.suppress(BundleError):
                assert parse_bundle(corrupted) != SMALL


def test_every_truncation_and_extension_is_refused():
    data = format_bundle(SMALL)
    for i in range(len(data)):
        with pytest.raises(BundleError):
            parse_bundle(data[:i])
    for tail in (b"\0", data, b"\0" * 8):
        with pytest.raises(BundleError, match=f"{len(tail)} bytes follow the end"):
            parse_bundle(data + tail)


def u32(*numbers):
    return b"".join(n.to_bytes(4, "big") for n in numbers)


MAGIC = b"unlearning-proof/v2\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "begins with"),
        (b"unlearning-proof/v1\n" + u32(0, 0), "begins with"),
        (MAGIC + u32(2, 5, 1) + b"\0" + u32(5, 1) + b"\0" + u32(0), "proof 5 follows proof 5"),
        (MAGIC + u32(2, 5, 1) + b"\0" + u32(4, 1) + b"\0" + u32(0), "proof 4 follows proof 5"),
        (MAGIC + u32(1, 0, 99, 0), "proof 0 claims 99 bytes; 4 are left"),
        (MAGIC + u32(2**32 - 1), "inside a number at byte 24"),
        (MAGIC + u32(0), "inside a number at byte 24"),
        (MAGIC + u32(1, 0, 2**20 + 1) + bytes(2**20 + 1) + u32(0), "1048576 allowed"),
    ],
)
def test_errors_say_where(data, reason):
    with pytest.raises(BundleError, match=reason):
        parse_bundle(data)


def test_the_longest_proof_is_one_mebibyte():
    whole = bytes(32 * 32_767)  # no pair of its words is a point: five bytes more when packed
    assert parse_bundle(format_bundle(ProofBundle({0: whole}, {}))).relations == {0: whole}
    with pytest.raises(BundleError, match="1048576 allowed"):
        parse_bundle(format_bundle(ProofBundle({0: whole + bytes(32)}, {})))
