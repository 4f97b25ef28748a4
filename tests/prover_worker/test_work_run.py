"""Leases, columns and permissions in the folder that a client's machines share. No proof is made."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover_worker.errors import AgentError
from prover_worker.field import R
from prover_worker.work_columns import Made, format_columns, parse_columns
from prover_worker.work_folder import Site
from prover_worker.work_run import About, Lease, Terms, WorkRun

ITEM = "relation-000007"
MADE = Made(proof="ab", seconds=1, peak_mb=2)


def begin(path, **terms):
    run = WorkRun(path / "run")
    run.begin(About(circuit="ab" * 32, terms=Terms(**terms)))
    return run


@pytest.fixture
def run(tmp_path):
    run = begin(tmp_path, lease=100)
    run.put(ITEM, b"secret")
    return run


def let_lapse(lease):
    os.utime(lease.path, (time.time() - 1000, time.time() - 1000))


def test_of_many_workers_one_gets_an_item(run):
    barrier, got = threading.Barrier(8), []

    def take():
        barrier.wait()
        got.append(run.take(ITEM, "w"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in got) == 1
    assert run.held() == {ITEM}


def test_a_lease_that_lapsed_is_for_one_other_worker(run):
    first = run.take(ITEM, "first")
    assert run.take(ITEM, "second") is None
    let_lapse(first)
    assert run.held() == set()
    assert run.ended(ITEM) == (1, "first has gone silent")
    assert run.take(ITEM, "second") is not None
    assert run.take(ITEM, "third") is None
    first.extend()  # it was only slow, and does not get its item back
    assert run.attempt(ITEM) == 2
    run.hand_in(ITEM, MADE)  # but its proof is as good
    assert run.read(ITEM) == MADE
    assert run.held() == set()


def test_what_could_not_be_begun_is_no_attempt(run):
    """A worker whose disk is full makes a lease and takes it away again; the agent may look at any moment."""
    lease, seen, over = run.path / "leases" / f"{ITEM}.1", set(), threading.Event()

    def come_and_go():
        while not over.is_set():
            lease.touch()
            lease.unlink()

    worker = threading.Thread(target=come_and_go)
    worker.start()
    try:
        for _ in range(3000):
            seen.add(run.ended(ITEM))
    finally:
        over.set()
        worker.join()
    assert seen == {None, (0, "")}


def test_signs_of_life_keep_a_lease(run):
    lease = run.take(ITEM, "w")
    let_lapse(lease)
    assert lease.extend()
    assert run.ended(ITEM) is None


def test_clocks_of_machines_do_not_count(run, monkeypatch):
    """A machine whose clock is a day fast does not take what others are at: the file system's time counts."""
    run.take(ITEM, "w")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert run.take(ITEM, "fast") is None


def test_attempts_are_limited_and_a_new_run_has_them_all_again(tmp_path):
    run = begin(tmp_path, attempts=2)
    run.put(ITEM, b"secret")
    for attempt in (1, 2):
        lease = run.take(ITEM, "w")
        lease.give_up(f"reason {attempt}")
        lease.give_up("another one")
        assert run.ended(ITEM) == (attempt, f"reason {attempt}")
    assert run.take(ITEM, "w") is None
    held = "range-000000"
    run.put(held, b"secret")
    run.take(held, "alive")
    again = begin(tmp_path, attempts=2)
    assert again.attempt(ITEM) == 0
    assert again.held() == {held}  # somebody is at it: it goes on


def test_what_is_done_or_not_there_is_not_taken(run):
    assert run.take("relation-000008", "w") is None
    run.hand_in(ITEM, MADE)
    assert run.take(ITEM, "w") is None
    run.forget(ITEM)
    assert run.take(ITEM, "w") is None
    assert sorted(path.name for path in run.path.rglob("*")) == ["inputs", "leases", "made", "run.json"]


def test_what_was_taken_back_is_not_written_to(run, tmp_path):
    lease = run.take(ITEM, "w")
    run.take_back()
    assert not run.waits(ITEM)
    begin(tmp_path)
    Site(tmp_path).cancel()
    whole = Site.open(tmp_path / "shared", make=True)
    other = WorkRun(whole.path / "runs" / ("a" * 32))
    other.begin(About(circuit="ab" * 32, terms=Terms()))
    other.put(ITEM, b"secret")
    lease = other.take(ITEM, "w")
    assert whole.cancel() == 1
    other.hand_in(ITEM, MADE)
    lease.give_up("late")
    assert not lease.extend()
    assert not other.is_open()
    with pytest.raises(AgentError, match="this work was taken back"):
        other.now()
    assert not list((whole.path / "runs").iterdir())


@pytest.mark.parametrize("item", ["../run.json", "relation-1", "relation-000007/..", "other-000007", ""])
def test_names_from_messages_are_names(run, item, tmp_path):
    """The attack: whoever can write to the broker makes a worker read or write elsewhere."""
    with pytest.raises(AgentError, match="no name of"):
        run.take(item, "w")
    with pytest.raises(AgentError, match="no name of"):
        Site(tmp_path).run(item)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o770, 0o755])
def test_a_folder_that_others_can_enter_is_refused(mode, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(mode)
    with pytest.raises(AgentError, match=f"mode {mode:04o}; columns of secret weights"):
        Site.open(tmp_path / "shared", make=True)


def test_a_worker_refuses_it_too(tmp_path):
    tmp_path.chmod(0o755)
    command = [sys.executable, "-m", "prover_worker.work", "--shared", str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"work: {tmp_path} has owner {os.geteuid()} and mode 0755;")


def test_everything_is_for_the_owner_only(tmp_path):
    before = os.umask(0)
    try:
        site = Site.open(tmp_path / "shared", make=True)
        run = WorkRun(site.path / "runs" / ("a" * 32))
        run.begin(About(circuit="ab" * 32, terms=Terms()))
        run.put(ITEM, b"secret")
        run.take(ITEM, "w").give_up("x")
        run.hand_in(ITEM, MADE)
    finally:
        os.umask(before)
    secret = [site.path, *(run.path / part for part in ("inputs", "leases", "made"))]
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in run.path.rglob("*") if path.is_file()} == {0o600}


def test_a_full_disk_is_said_in_a_sentence(run, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AgentError, match=r"the disk that holds .* is full"):
        run.put("relation-000008", b"secret")
    assert [path.name for path in (run.path / "inputs").iterdir()] == [ITEM]


def test_a_lease_of_an_item_that_is_gone_cannot_be_given_up(run):
    lease = Lease(run.path / "leases" / f"{ITEM}.9")
    lease.give_up("x")
    assert list((run.path / "leases").iterdir()) == []


@given(st.lists(st.lists(st.integers(-R, 2 * R), max_size=4), min_size=1, max_size=9))
def test_columns_round_trip(columns):
    assert parse_columns(format_columns(columns)) == [[x % R for x in column] for column in columns]


def test_other_bytes_are_no_columns():
    data = format_columns([[1, 2], [3]])
    for end in range(len(data)):
        with pytest.raises(AgentError):
            parse_columns(data[:end])
    for wrong in (data + b"\0", b"x" + data[1:], data[:-32] + R.to_bytes(32, "big"), format_columns([])):
        with pytest.raises(AgentError):
            parse_columns(wrong)


def test_a_file_that_is_no_proof_is_said_to_be_none(run):
    for wrong in (b"", b"{}", b'{"proof":"","seconds":1,"peak_mb":1}', b'{"proof":"AB","seconds":1,"peak_mb":1}'):
        Path(run.path / "made" / ITEM).write_bytes(wrong)
        with pytest.raises(AgentError, match="a worker's file is no proof"):
            run.read(ITEM)
