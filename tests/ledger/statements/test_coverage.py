"""What coverage means in numbers, against counting."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest

from ledger.statements import coverage


@pytest.mark.parametrize(("text", "size"), [("full", None), ("sampled(1)", 1), ("sampled(250)", 250)])
def test_coverages(text: str, size: int | None) -> None:
    assert coverage.sample_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "Full", "sampled", "sampled()", "sampled(0)", "sampled(01)", "sampled(-1)", "sampled(1) ",
             "sampled(٣)", "sampled(1)\n", "sampled(99999999)"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="coverage is 'full' or"):
        coverage.sample_size(text)


def test_a_sample_is_for_the_first_attempt_only() -> None:
    assert coverage.of_attempt("sampled(3)", 1) == "sampled(3)"
    assert coverage.of_attempt("sampled(3)", 2) == "full"
    assert coverage.of_attempt("full", 1) == "full"


def test_a_sample_has_no_more_than_there_is() -> None:
    assert [coverage.proofs_due("sampled(3)", n) for n in (1, 3, 9)] == [1, 3, 3]
    assert coverage.proofs_due("full", 9) == 9


@pytest.mark.parametrize("touched", range(1, 8))
def test_the_chance_is_the_share_of_samples_that_hold_a_dishonest_chunk(touched: int) -> None:
    for drawn in range(1, touched + 1):
        samples = list(combinations(range(touched), drawn))
        for dishonest in range(touched + 1):
            caught = sum(any(chunk < dishonest for chunk in sample) for sample in samples)
            assert coverage.chance(touched, drawn, dishonest) == Fraction(caught, len(samples))


@pytest.mark.parametrize(("touched", "drawn"), [(8, 1), (8, 3), (8, 8), (100, 20), (3450, 59)])
@pytest.mark.parametrize("level", coverage.LEVELS)
def test_how_many_dishonest_chunks_are_caught(touched: int, drawn: int, level: str) -> None:
    least = coverage.caught_with(touched, drawn, level)
    assert coverage.chance(touched, drawn, least) >= Fraction(level)
    assert coverage.chance(touched, drawn, least - 1) < Fraction(level)


def test_figures_as_verdicts_write_them() -> None:
    assert coverage.detection(8, 2) == "0.25"
    assert coverage.detection(3, 2) == "0.666666"  # never too much
    assert coverage.detection(8, 8) == "1"
    assert coverage.detection(9_999_999, 1) == "0"
    assert coverage.detection(1_000_000, 999_999) == "0.999999"
    assert coverage.worst(["0.5", "0.25", "1"]) == "0.25"
    assert coverage.worst([]) == "1"
