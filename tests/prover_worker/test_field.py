import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from prover_worker.field import R, combine, encode, expand

elements = st.integers(-(2**300), 2**300)


@settings(max_examples=50)
@given(st.binary(max_size=40), st.binary(max_size=20), st.integers(0, 5))
def test_expand_is_the_documented_formula(seed, label, count):
    expected = []
    for i in range(count):
        data = seed + len(label).to_bytes(4, "big") + label + i.to_bytes(8, "big")
        wide = hashlib.sha256(data + bytes([0])).digest() + hashlib.sha256(data + bytes([1])).digest()
        expected.append(int.from_bytes(wide, "big") % R)
    assert expand(seed, label, count) == expected


def test_labels_cannot_run_together():
    assert expand(b"seed", b"ab", 1) != expand(b"seeda", b"b", 1)
    assert expand(b"seed", b"a", 1) != expand(b"seed", b"a\0", 1)


def test_a_longer_expansion_begins_with_the_shorter_one():
    assert expand(b"s", b"l", 9)[:4] == expand(b"s", b"l", 4)


@settings(max_examples=50)
@given(st.data(), st.integers(1, 4), st.integers(0, 6))
def test_combine_is_the_double_loop(data, count, length):
    coefficients = data.draw(st.lists(elements, min_size=count, max_size=count))
    vectors = data.draw(
        st.lists(st.lists(elements, min_size=length, max_size=length), min_size=count, max_size=count)
    )
    expected = [0] * length
    for c, vector in zip(coefficients, vectors, strict=True):
        for j, x in enumerate(vector):
            expected[j] = (expected[j] + c * x) % R
    assert combine(coefficients, vectors) == expected


@given(elements)
def test_encode_is_32_bytes_little_endian(x):
    (text,) = encode([x])
    assert len(text) == 64
    assert sum(byte << (8 * i) for i, byte in enumerate(bytes.fromhex(text))) == x % R
