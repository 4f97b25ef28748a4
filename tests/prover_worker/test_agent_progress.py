"""The time that is left, and what the three ways of showing progress write."""

import json

import pytest

from prover_worker.agent_progress import Estimate, reporter


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_at_a_steady_pace_the_estimate_is_exact(clock):
    estimate = Estimate(clock)
    assert estimate.left("proving", 0, 10) is None
    for done in range(1, 11):
        clock.now += 4
        assert estimate.left("proving", done, 10) == pytest.approx(4 * (10 - done))


def test_what_an_earlier_run_had_finished_does_not_count_as_pace(clock):
    """90 of 100 were there; the other ten take as long as they take, not a tenth of a moment."""
    estimate = Estimate(clock)
    assert estimate.left("proving", 90, 100) is None
    clock.now += 5
    assert estimate.left("proving", 91, 100) == pytest.approx(45)


def test_every_stage_has_a_pace_of_its_own(clock):
    estimate = Estimate(clock)
    estimate.left("curvature", 0, 2)
    clock.now += 100
    estimate.left("curvature", 1, 2)
    assert estimate.left("proving", 0, 4) is None
    clock.now += 1
    assert estimate.left("proving", 1, 4) == pytest.approx(3)


def test_a_stage_that_begins_again_is_measured_anew(clock):
    """As when the next order is proved after the first."""
    estimate = Estimate(clock)
    estimate.left("proving", 0, 4)
    clock.now += 400
    assert estimate.left("proving", 4, 4) == 0
    clock.now += 1000
    assert estimate.left("proving", 0, 4) is None
    clock.now += 2
    assert estimate.left("proving", 1, 4) == pytest.approx(6)


def test_json_lines_are_for_programs(capsys):
    with reporter("json") as report:
        report("curvature: 3 of 9 samples", 33, 100)
        report("curvature: 6 of 9 samples", 66, 100)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first == {"stage": "curvature: 3 of 9 samples", "done": 33, "total": 100}
    assert second["secondsLeft"] == 0


def test_bars_show_stage_and_count(capsys):
    with reporter("bar") as report:
        report("compensating", 1, 3)
        report("proving", 2, 3)
    shown = capsys.readouterr().err
    assert "compensating" in shown
    assert "3/3" in shown


def test_nothing_is_shown_to_nobody(capsys):
    with reporter("none") as report:
        report("proving", 1, 3)
    assert capsys.readouterr() == ("", "")
