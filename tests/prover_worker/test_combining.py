"""All points in one comparison: every wrong one is found and named, also where errors cancel, and by any number of
processes. Where a backend believes every proof, the comparison has to find a wrong point by itself.
"""

from dataclasses import replace

import pytest

from prover_worker import combining, verify
from prover_worker.errors import VerifierBroke
from prover_worker.layout import RELATION_COLUMNS
from prover_worker.verify import verify_claim
from tests.prover_worker.crafted import OTHER_DIGITS, G, moved
from tests.prover_worker.dying import Believing, Killed, Stopped
from tests.prover_worker.story import BACKEND, P


def believed(claim, bundle, **changed):
    return verify_claim(claim.case(replace(bundle, **changed)), Believing()).failures


def other(column):
    return f"the proof commits to another {RELATION_COLUMNS[column]} than the log does"


@pytest.mark.parametrize("column", range(len(RELATION_COLUMNS)))
def test_a_wrong_point_is_found_and_named(claim, bundle, column):
    proofs = {**bundle.relations, 2: moved(bundle.relations[2], column, G)}
    assert believed(claim, bundle, relations=proofs) == {2: other(column)}


def test_wrong_digits_and_points_in_the_place_of_missing_chunks(claim, bundle):
    assert believed(claim, bundle) == {}
    for column in range(P.range_group):  # two chunks, two empty places
        found = believed(claim, bundle, ranges={0: moved(bundle.ranges[0], column, G)})
        assert found == {0: OTHER_DIGITS, 2: OTHER_DIGITS}


def cancelling(bundle):
    """Errors whose sum is zero: in two columns of one proof, in two proofs of a kind, in proofs of both kinds."""
    first, last = bundle.relations[0], bundle.relations[2]
    yield {"relations": {0: moved(moved(first, 0, G), 1, -G), 2: last}}, {0: other(0)}
    yield {"relations": {0: moved(first, 7, G), 2: moved(last, 7, -G)}}, {0: other(7), 2: other(7)}
    yield (
        {"relations": {0: moved(first, 7, G), 2: last}, "ranges": {0: moved(bundle.ranges[0], 0, -G)}},
        {0: f"{other(7)}; {OTHER_DIGITS}", 2: OTHER_DIGITS},
    )


def test_errors_that_cancel_are_found(claim, bundle):
    for changed, reasons in cancelling(bundle):
        assert believed(claim, bundle, **changed) == reasons


def test_errors_that_cancel_would_pass_if_the_verifier_drew_no_numbers(claim, bundle, monkeypatch):
    """Why z is drawn, and drawn after the proofs lie there: whoever knows it writes proofs whose errors cancel."""
    monkeypatch.setattr(verify, "draw_z", lambda count: [1] * count)
    for changed, _ in cancelling(bundle):
        assert believed(claim, bundle, **changed) == {}


def test_numbers_are_new_each_time_and_of_full_size():
    drawn = combining.draw_z(64)
    assert len(set(drawn) | set(combining.draw_z(64))) == 128
    assert 1 << 120 < max(drawn) < 1 << combining.Z_BITS


def test_a_sum_that_contradicts_its_parts_decides_nothing(claim, bundle, monkeypatch):
    monkeypatch.setattr(combining.RowSums, "point", lambda _self: G)
    with pytest.raises(VerifierBroke, match="nothing is decided"):
        verify_claim(claim.case(bundle), Believing())


def test_a_proof_that_holds_alone_but_not_with_others_decides_nothing(claim, bundle):
    class Fickle(Believing):
        calls = 0

        def verify(self, kind, files, proof):
            self.calls += 1
            return self.calls > 1

    with pytest.raises(VerifierBroke, match="not alone"):
        verify_claim(claim.case(bundle), Fickle())


# Processes


@pytest.fixture
def eager(monkeypatch):
    """Each of the three proofs is a task of its own, and worth a process."""
    monkeypatch.setattr(combining, "BATCH", 1)
    monkeypatch.setattr(combining, "WORTH", 1)


@pytest.mark.usefixtures("eager")
def test_the_outcome_does_not_depend_on_the_number_of_processes(claim, bundle):
    proof = bundle.relations[2]
    false = {0: moved(bundle.relations[0], 2, G), 2: proof[:-1] + bytes([proof[-1] ^ 1])}
    seen = []
    for given, failing in ((bundle, []), (replace(bundle, relations=false), [0, 2])):
        many = verify_claim(claim.case(given), BACKEND, lambda done, total: seen.append((done, total)), jobs=2)
        one = verify_claim(claim.case(given), BACKEND)
        assert list(many.failures.items()) == list(one.failures.items())
        assert list(one.failures) == failing
        assert (many.proved, many.touched, many.untouched) == (one.proved, one.touched, one.untouched)
    assert seen == [(1, 3), (2, 3), (3, 3)] * 2


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("backend", [Killed(), Stopped()])
def test_a_process_that_dies_or_hangs_decides_nothing(claim, bundle, monkeypatch, backend):
    monkeypatch.setattr(combining, "PATIENCE", 3.0)
    with pytest.raises(VerifierBroke, match="nothing is decided"):
        verify_claim(claim.case(bundle), backend, jobs=2)
