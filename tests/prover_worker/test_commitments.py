import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover_worker.commitments import (
    ChunkSecrets,
    ChunkSolution,
    check_digits,
    commit_curvature,
    commit_solution,
    commit_weights,
    parse_record,
    split_records,
)
from prover_worker.curve import format_point
from prover_worker.errors import PointError, ProvingFailed
from prover_worker.field import expand
from tests.prover_worker.story import P

BASE = 2048


def salt(seed, label):
    return expand(seed, label.encode(), P.salt_rows)


def test_columns_hold_what_the_layout_says_then_their_own_salt(client):
    secret = client.secrets[2]
    w, factors, seed = secret.weights, secret.factors, secret.seed
    assert secret.weight_column(8) == [int(w[b, i]) for b in range(16) for i in range(16)] + salt(seed, "w/2")
    rows, positions = secret.row_columns(8), secret.position_columns(8)
    for n in range(4):
        expected = [int(factors[b, n, i]) for b in range(16) for i in range(16)]
        assert rows[n] == expected + salt(seed, f"A/2/{n}")
    for i in range(16):
        expected = [int(factors[b, n, i]) for b in range(16) for n in range(4)]
        assert positions[i] == expected + salt(seed, f"B/2/{i}")


def test_no_two_columns_of_a_client_share_salt(client, claim):
    columns = []
    for secret in client.secrets.values():
        columns += [secret.weight_column(8), *secret.row_columns(8), *secret.position_columns(8)]
    for solution in claim.solutions.values():
        columns += [solution.weight_column(8), solution.f_column(8), solution.digit_column(BASE, 8)]
    tails = {tuple(column[-8:]) for column in columns}
    assert len(tails) == len(columns) == 3 * 21 + 2 * 3


@given(st.integers(-(2**21), 2**21 - 1), st.sampled_from([2, 10, 2048, 2049]))
def test_digits_give_v_back_and_stand_in_range(v, base):
    one = np.array([[v]])
    solution = ChunkSolution(0, one, one, one, np.array([[7]]), b"")
    low, high, e = solution.digit_column(base, 0)
    assert low + base * high == v
    assert -base <= 2 * low < base
    assert e == 7


def test_digits_stand_in_three_runs(claim):
    solution = claim.solutions[0]
    column = solution.digit_column(BASE, 8)
    for b in range(16):
        for n in range(4):
            row = 4 * b + n
            assert column[row] + BASE * column[64 + row] == solution.v[b, n]
            assert column[128 + row] == solution.e[b, n]
    assert column[192:] == salt(solution.seed, "z/0")


def test_records_are_the_points_of_the_columns(client, claim):
    basis, layout, secret, solution = client.basis, client.layout, client.secrets[0], claim.solutions[0]

    def point(column, start=0):
        return format_point(basis.commit(column, start))

    assert commit_weights(basis, layout, secret) == point(secret.weight_column(8))
    expected = [point(c) for c in secret.row_columns(8)] + [point(c, 128) for c in secret.position_columns(8)]
    assert commit_curvature(basis, layout, secret) == b"".join(expected)
    weights, record = commit_solution(basis, layout, solution, BASE)
    assert weights == point(solution.weight_column(8))
    assert record == point(solution.f_column(8)) + point(solution.digit_column(BASE, 8, P.noise_rows))


def test_the_same_weights_under_fresh_salt_have_another_point(client):
    secret = client.secrets[0]
    again = ChunkSecrets(0, secret.weights, secret.factors, b"fresh")
    assert commit_weights(client.basis, client.layout, again) != client.weights[0]


@pytest.mark.parametrize("digit", [-2048, 2031, 0])
def test_digits_in_the_table_pass(digit):
    check_digits([0, digit, 10**9], 2, -2048, 2031, 4)


@pytest.mark.parametrize("digit", [-2049, 2032, 10**30])
def test_digits_outside_the_table_are_refused(digit):
    with pytest.raises(ProvingFailed, match=rf"chunk 4: a digit of v or e is {digit}, outside .*\[-2048, 2031\]"):
        check_digits([0, digit, 0], 2, -2048, 2031, 4)


def test_records_are_cut_at_their_length():
    assert split_records(bytes(range(192)), 2, 3, "solution") == [
        bytes(range(64)), bytes(range(64, 128)), bytes(range(128, 192)),
    ]  # fmt: skip
    assert split_records(b"", 2, 0, "solution") == []
    for length in (0, 127, 191, 193, 256):
        with pytest.raises(PointError, match=f"the solution file has {length} bytes; expected 3 records of 64"):
            split_records(bytes(length), 2, 3, "solution")


def test_records_hold_points_only():
    with pytest.raises(PointError):
        parse_record(b"\xff" * 64)
