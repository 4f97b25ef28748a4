"""The time that is left, and what the three ways of showing progress write."""

import heapq
import json
import random

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


def run(workers, parts, seconds_of, clock, estimate, first=0):
    """Workers that take one part after the other: (share done, seconds left as estimated, as it came) of each."""
    start, waiting, told = clock.now, list(range(first, parts)), []
    under_way = [start + seconds_of(0.0, waiting.pop(0)) for _ in range(min(workers, len(waiting)))]
    heapq.heapify(under_way)
    estimate.left("proving", first, parts, workers)
    for done in range(first + 1, parts + 1):
        clock.now = heapq.heappop(under_way)
        told.append((done - first, clock.now, estimate.left("proving", done, parts, workers)))
        if waiting:
            heapq.heappush(under_way, clock.now + seconds_of(clock.now - start, waiting.pop(0)))
    return [((done / (parts - first)), left, clock.now - now) for done, now, left in told]


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("first", [0, 150])
def test_the_estimate_holds(workers, first, clock):
    """Three proofs of chunks and one of ranges in turn, each by up to a fifth longer or shorter: once a tenth is
    done and every worker has made two, what is said differs by at most a tenth of what is left and one proof.
    """
    noise = random.Random(workers)

    def seconds_of(_now, part):
        return (11 if part % 4 == 3 else 17) * noise.uniform(0.8, 1.2)

    told = run(workers, 300, seconds_of, clock, Estimate(clock), first)
    later = told[max(len(told) // 10, 2 * workers) :]
    assert all(abs(said - came) <= 0.1 * came + 17 for _, said, came in later)


@pytest.mark.parametrize("workers", [2, 8])
def test_the_first_proofs_are_not_taken_for_the_only_ones(workers, clock):
    """The attack on trust: eight workers finish their first proofs together, and eight times too much is said."""
    (_, said, came), *_ = run(workers, 80, lambda _now, _part: 10, clock, Estimate(clock))
    assert said == pytest.approx(came, rel=0.12)


def test_a_machine_that_becomes_slower_is_noticed(clock):
    """Half the pace from the middle on: three quarters of the way, the estimate is right to a fifth again."""
    told = run(2, 200, lambda now, _part: 10 if now < 500 else 20, clock, Estimate(clock))
    late = [(said, came) for share, said, came in told if 0.75 < share < 0.99]
    assert all(said == pytest.approx(came, rel=0.2, abs=20) for said, came in late)


def test_workers_that_join_are_counted(clock):
    estimate, now = Estimate(clock), clock.now
    estimate.left("proving", 0, 100, 2)
    for done in range(1, 21):
        clock.now += 5  # two workers, ten seconds each
        estimate.left("proving", done, 100, 2)
    assert clock.now - now == 100
    clock.now += 2.5
    assert estimate.left("proving", 21, 100, 4) == pytest.approx(79 * 2.5, rel=0.05)


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
