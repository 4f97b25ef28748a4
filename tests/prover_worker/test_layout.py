import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover_worker.errors import CircuitError
from prover_worker.layout import RELATION_COLUMNS, Layout, column_lengths, digit_base
from tests.prover_worker.story import P


@st.composite
def layouts(draw):
    blocks, size, rank = (draw(st.integers(low, 5)) for low in (1, 2, 1))
    parameters = P.model_copy(update={"blocks": blocks, "block_size": size, "rank": rank, "salt_rows": 2})
    return Layout(parameters, size * draw(st.integers(1, 4 * blocks)))


@given(layouts())
def test_blocks_and_factors_against_a_naive_loop(layout):
    p, total = layout.parameters, layout.total
    flat = np.arange(1, total + 1)
    factors = np.arange(1, total * p.rank + 1).reshape(-1, p.rank, p.block_size)
    seen = 0
    for chunk in range(layout.chunks):
        blocks, parts = layout.blocks_of(flat, chunk), layout.factors_of(factors, chunk)
        assert blocks.shape == (p.blocks, p.block_size)
        assert parts.shape == (p.blocks, p.rank, p.block_size)
        for b in range(p.blocks):
            block = chunk * p.blocks + b
            for i in range(p.block_size):
                position = block * p.block_size + i
                inside = position < total
                assert blocks[b, i] == (flat[position] if inside else 0)
                for n in range(p.rank):
                    assert parts[b, n, i] == (factors[block, n, i] if inside else 0)
                seen += inside
    assert seen == total
    assert (layout.chunks - 1) * layout.chunk_weights < total <= layout.chunks * layout.chunk_weights


@given(layouts(), st.data())
def test_masked_rows_against_a_naive_loop(layout, data):
    indices = sorted(data.draw(st.sets(st.integers(0, layout.total - 1))))
    expected = {}
    for index in indices:
        expected.setdefault(index // layout.chunk_weights, []).append(index % layout.chunk_weights)
    rows = layout.masked_rows(indices)
    assert rows == expected
    assert list(rows) == sorted(rows)
    assert layout.masked_rows(np.array(indices, dtype=np.int64)) == expected


@given(layouts(), st.data())
def test_a_masked_row_is_the_row_of_its_weight(layout, data):
    index = data.draw(st.integers(0, layout.total - 1))
    ((chunk, (row,)),) = layout.masked_rows([index]).items()
    flat = np.zeros(layout.total, dtype=np.int64)
    flat[index] = 1
    assert layout.blocks_of(flat, chunk).ravel()[row] == 1


@given(st.lists(st.integers(0, 99), unique=True, max_size=30), st.integers(1, 6))
def test_groups_are_runs_that_join_to_the_whole(touched, size):
    layout = Layout(P.model_copy(update={"range_group": size}), 16)
    groups = layout.groups(sorted(touched))
    assert [chunk for group in groups for chunk in group] == sorted(touched)
    assert all(len(group) == size for group in groups[:-1])
    assert all(0 < len(group) <= size for group in groups)


@pytest.mark.parametrize("total", [0, -16, 15, 17])
def test_weights_that_do_not_divide_into_blocks_are_refused(total):
    with pytest.raises(CircuitError, match=f"got {total} target weights"):
        Layout(P, total)


def test_column_lengths_of_the_small_circuit():
    assert column_lengths(P) == {
        "X": 264, "Y": 264, "H": 264, "D": 264, "tau": 256, "tau_kept": 256, "J": 200, "Z": 680,
        "coefficients": 4 + 16,
    }  # fmt: skip
    assert tuple(column_lengths(P)) == RELATION_COLUMNS
    assert Layout(P, 16).commit_rows >= max(column_lengths(P).values())
    assert digit_base(P) == 2048
    assert Layout(P, 16).points_per_curvature == 4 + 16


@given(layouts())
def test_no_column_is_longer_than_the_basis_that_commits_to_it(layout):
    private = {"X", "Y", "H", "D", "J", "Z"}
    lengths = column_lengths(layout.parameters)
    assert max(lengths[name] for name in private) <= layout.commit_rows
