import ezkl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover_worker.curve import (
    IDENTITY,
    Basis,
    Q,
    basis,
    compressed,
    format_point,
    from_affine,
    linear,
    parse_point,
    parse_points,
    reduced_srs,
    to_affine,
)
from prover_worker.errors import CircuitError, PointError
from prover_worker.field import R, encode

G = from_affine(1, 2)


# A naive G1: the textbook's affine formulas, None for the identity.


def naive_add(p, q):
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and (p[1] + q[1]) % Q == 0:
        return None
    slope = 3 * p[0] * p[0] * pow(2 * p[1], -1, Q) if p == q else (q[1] - p[1]) * pow(q[0] - p[0], -1, Q)
    x = (slope * slope - p[0] - q[0]) % Q
    return x, (slope * (p[0] - x) - p[1]) % Q


def naive_times(scalar, p):
    total, power = None, p
    for bit in bin(scalar % R)[:1:-1]:
        if bit == "1":
            total = naive_add(total, power)
        power = naive_add(power, power)
    return total


def naive_commit(vector, points):
    total = None
    for scalar, point in zip(vector, points, strict=True):
        total = naive_add(total, naive_times(scalar, to_affine(point)))
    return total or (0, 0)


@pytest.fixture(scope="module")
def lagrange(built):
    return Basis(built[1]["srs"], 40)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_commitments_are_sums_of_multiples_of_basis_points(lagrange, data):
    small = data.draw(st.booleans())
    scalars = st.integers(-(2**24), 2**24) if small else st.integers(0, R - 1)
    vector = data.draw(st.lists(scalars, min_size=0, max_size=6))
    start = data.draw(st.integers(0, 30))
    expected = naive_commit(vector, lagrange.points[start : start + len(vector)])
    assert to_affine(lagrange.commit(vector, start)) == expected
    assert to_affine(lagrange.commit_small(vector, start)) == expected


def test_commit_small_takes_any_integer(lagrange):
    vector = [-5, R - 1, 3 * R + 2, 0, -(2**40)]
    assert lagrange.commit_small(vector, 7) == lagrange.commit(vector, 7)


def test_commit_is_linear_without_any_constant(lagrange):
    x, y, s = [3, -1, 4], [1, 5, 9], 2**200
    combined = [a + s * b for a, b in zip(x, y, strict=True)]
    assert lagrange.commit(combined) == lagrange.commit(x) + lagrange.commit(y) * s
    assert lagrange.commit([0] * 40) == IDENTITY


def test_all_lagrange_points_together_give_the_generator(built):
    whole = Basis(built[1]["srs"], 1 << 11)
    assert whole.ones(1 << 11) == G
    assert whole.commit([1] * (1 << 11)) == G


@pytest.mark.parametrize("kind", ["relation", "range"])
def test_ezkl_commits_as_we_do_plus_ones(built, kind):
    predicate, paths = built
    rows = 300
    rng = np.random.default_rng(5)
    vector = [int(x) for x in rng.integers(-(2**24), 2**24, rows - 3)] + [R - 1, R // 2, 12345]
    (point,) = ezkl.kzg_commit(
        encode(vector), *(str(paths[role]) for role in (f"{kind}_vk", f"{kind}_settings", "srs"))
    )
    theirs = tuple(int.from_bytes(bytes.fromhex(part), "little") for part in (point.x, point.y))
    ours = basis(paths["srs"], rows)
    blinding = getattr(predicate, kind).blinding_rows
    assert blinding > 0
    assert to_affine(ours.commit(vector) + ours.ones(blinding)) == theirs
    assert to_affine(ours.commit(vector)) != theirs


# SRS files


def test_srs_of_the_wrong_size_missing_or_too_small_is_refused(built, tmp_path):
    data = built[1]["srs"].read_bytes()
    for wrong in (data[:-1], data + b"\0", b"", (12).to_bytes(4, "little") + data[4:], b"\xff" * 4 + data[4:]):
        (tmp_path / "srs").write_bytes(wrong)
        with pytest.raises(CircuitError, match="is no SRS"):
            Basis(tmp_path / "srs", 1)
    with pytest.raises(CircuitError, match="cannot read the SRS"):
        Basis(tmp_path / "none", 1)
    with pytest.raises(CircuitError, match=r"2\^11 rows; 2049 are needed"):
        Basis(built[1]["srs"], 2049)


def test_srs_with_a_point_off_the_curve_is_refused(built, tmp_path):
    data = bytearray(built[1]["srs"].read_bytes())
    data[4 + 64 * 2048] ^= 1  # the first Lagrange point
    (tmp_path / "srs").write_bytes(data)
    with pytest.raises(PointError, match="do not lie"):
        Basis(tmp_path / "srs", 1)


# Points as bytes


@settings(deadline=None)
@given(st.integers(0, R - 1))
def test_points_round_trip(scalar):
    point = linear([scalar], [G])
    data = format_point(point)
    assert len(data) == 32
    assert format_point(parse_point(data)) == data
    x, y = to_affine(point)
    if scalar:
        assert (x, y) == naive_times(scalar, (1, 2))
        assert format_point(from_affine(x, y)) == data
        assert int.from_bytes(data, "little") == x | (y > Q - y) << 255


def test_identity_round_trips():
    data = format_point(IDENTITY)
    assert data == bytes(31) + b"\x40"
    assert parse_point(data) == IDENTITY
    assert to_affine(IDENTITY) == (0, 0)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_one_point_or_refused(data):
    number = int.from_bytes(data, "little")
    x, larger, infinite = number % 2**254, number >> 255, number >> 254 & 1
    square = (x**3 + 3) % Q
    y = pow(square, (Q + 1) // 4, Q)
    canonical = number == 1 << 254 or (x < Q and not infinite and y * y % Q == square)
    if not canonical:
        with pytest.raises(PointError, match=data.hex()):
            parse_point(data)
        return
    point = parse_point(data)
    assert format_point(point) == data
    if not infinite:
        assert to_affine(point) == (x, max(y, Q - y) if larger else min(y, Q - y))


def encoded(x, flags=0):
    return (x | flags << 254).to_bytes(32, "little")


def smallest_x():
    return next(x for x in range(100) if pow(x**3 + 3, (Q - 1) // 2, Q) == 1)


@pytest.mark.parametrize(
    "data",
    [
        encoded(smallest_x() + Q),  # x not reduced
        encoded(smallest_x() + Q, 2),
        encoded(smallest_x(), 1),  # flagged as the identity, with an x
        encoded(smallest_x(), 3),
        encoded(0, 3),  # the identity with a sign
        encoded(Q, 1),
        encoded(Q),
        encoded(2**254 - 1),
        encoded(2**254 - 1, 3),
        encoded(next(x for x in range(100) if pow(x**3 + 3, (Q - 1) // 2, Q) == Q - 1)),  # no such point
    ],
)
def test_every_other_form_of_a_point_is_refused(data):
    with pytest.raises(PointError):
        parse_point(data)


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_points_of_other_lengths_are_refused(length):
    with pytest.raises(PointError, match=f"got {length} bytes"):
        parse_point((format_point(G) * 3)[:length])


def test_runs_of_points():
    data = format_point(G) + format_point(IDENTITY) + format_point(-G)
    assert parse_points(data) == [G, IDENTITY, -G]
    assert parse_points(b"") == []
    for wrong in (data[:-1], data + b"\0"):
        with pytest.raises(PointError, match="multiple of 32"):
            parse_points(wrong)
    with pytest.raises(PointError):
        parse_points(data[:64] + b"\xff" * 32)


@pytest.mark.parametrize(("x", "y"), [(1, 3), (0, 0), (1 + Q, 2), (1, 2 + Q), (-1, 2), (1, 2 - Q)])
def test_affine_coordinates_off_the_curve_are_refused(x, y):
    with pytest.raises(PointError, match="do not lie"):
        from_affine(x, y)


def test_linear_combinations_need_a_scalar_for_every_point():
    assert linear([], []) == IDENTITY
    assert linear([2, -2], [G, G]) == IDENTITY
    with pytest.raises(AssertionError, match="1 scalars for 2 points"):
        linear([1], [G, G])


@pytest.mark.parametrize("scalar", [1, 2, 3, R - 1, R - 2, 12345])
def test_compressing_coordinates_gives_what_compressing_the_point_gives(scalar):
    point = G * scalar
    assert compressed(*to_affine(point)) == format_point(point)
    for x, y in ((0, 0), (1, 3), (1 + Q, 2)):
        with pytest.raises(PointError, match="do not lie"):
            compressed(x, y)


def test_a_reduced_srs_has_the_same_secret(built, tmp_path):
    """Its two Lagrange points are those of the first two monomials: [1] and [s], which the whole one has, too."""
    whole, small = built[1]["srs"], tmp_path / "small"
    small.write_bytes(reduced_srs(whole))
    first, second = Basis(small, 2).points
    raw = whole.read_bytes()
    assert (first + second) == G
    assert raw[4:132] == small.read_bytes()[4:132]
    assert raw[-256:] == small.read_bytes()[-256:]
    secret = from_affine(*(int.from_bytes(raw[i : i + 32], "little") * pow(1 << 256, -1, Q) % Q for i in (68, 100)))
    assert first + -second == secret
