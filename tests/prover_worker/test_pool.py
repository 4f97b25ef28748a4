import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing import current_process
from pathlib import Path

import pytest
from billiard import Process

from prover_worker import pool
from prover_worker.errors import OutOfMemory, PointError, ProvingFailed


def square(x):
    return x * x


def slow_when_zero(x):
    time.sleep(3 if x == 0 else 0)  # longer than a process takes to start on a busy machine
    return x


def refuse(x):
    raise PointError(f"not {x}")


def die(x):
    os._exit(3)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def exhaust():
    bytearray(1 << 60)


def noisy(x):
    os.write(1, b"to stdout\n")
    os.write(2, b"to stderr\n")
    return os.getpid()


def test_every_task_is_done_once_under_its_number():
    results = list(pool.run(square, ((x,) for x in range(7)), 2))
    assert sorted(results) == [(x, x * x) for x in range(7)]


def test_results_come_as_they_finish():
    order = [number for number, _ in pool.run(slow_when_zero, ((x,) for x in (0, 1, 3)), 2)]
    assert sorted(order) == [0, 1, 2]
    assert order[-1] == 0


def test_no_tasks():
    assert list(pool.run(square, [], 2)) == []


def test_tasks_are_taken_only_as_processes_become_free():
    taken = 0

    def tasks():
        nonlocal taken
        for x in range(20):
            taken += 1
            yield (x,)

    finished = 0
    for _ in pool.run(square, tasks(), 1):
        finished += 1
        assert taken - finished <= 2  # one running, one waiting
    assert finished == 20


def test_an_exception_of_a_task_is_raised_with_its_type_and_text():
    with pytest.raises(PointError, match="not 5"):
        list(pool.run(refuse, ((x,) for x in (5, 6, 7)), 1))


def test_a_process_that_dies_is_an_error_of_this_package():
    with pytest.raises(
        ProvingFailed, match="a worker process ended with status 3; what is finished is kept"
    ) as said:
        list(pool.run(die, [(0,)], 1))
    assert not isinstance(said.value, OutOfMemory)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (kill, "was killed, as the kernel does where memory runs out"),
        (os.abort, r"gave up \(SIGABRT\), as Rust code does where it gets no more memory"),
        (exhaust, "got no more memory"),
    ],
)
def test_a_process_without_memory_is_told_from_others_by_how_it_ends(how, words):
    with pytest.raises(OutOfMemory, match=f"a worker process {words}") as said:
        list(pool.run(how, [()], 2, needs=512_000_000))
    assert re.search(
        r" \(a process that proves takes some 512 MB, \d+ MB of memory are free now\); what is finished is kept, "
        r"so run the same command again when more is free, or with fewer jobs than 2 or with `--profile edge`$",
        str(said.value),
    )


def test_worker_processes_are_others_and_silent(capfd):
    ((_, pid),) = pool.run(noisy, [(0,)], 1)
    assert pid != os.getpid()
    assert capfd.readouterr() == ("", "")


def first_to_go():
    return Path("/proc/self/oom_score_adj").read_text().strip()


def test_where_memory_runs_out_they_are_the_first_to_go():
    assert list(pool.run(first_to_go, [()], 1)) == [(0, "1000")]
    assert first_to_go() != "1000"


def test_processes_can_be_renewed_after_every_task():
    pids = {pid for _, pid in pool.run(noisy, [(0,), (1,)], 1, per_process=1)}
    assert len(pids) == 2


def test_stopping_early_leaves_nothing_behind():
    running = pool.run(square, ((x,) for x in range(50)), 1)
    next(running)
    running.close()
    assert list(running) == []


# Processes end with their parent. A task that would take minutes says where it runs, then the parent goes.

_PARENT = """
import sys
from prover_worker import pool
from tests.prover_worker.test_pool import linger

if __name__ == "__main__":
    try:
        for _ in pool.run(linger, [(sys.argv[1], "a"), (sys.argv[1], "b")], 2):
            pass
    except KeyboardInterrupt:
        sys.exit(130)
"""


def linger(folder, name):
    (Path(folder) / name).write_text(str(os.getpid()))
    time.sleep(300)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent(number, tmp_path):
    root, program = Path(__file__).resolve().parents[2], tmp_path / "parent.py"
    program.write_text(_PARENT)
    environment = os.environ | {"PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, str(program), str(tmp_path)], env=environment)
    files, deadline = [tmp_path / "a", tmp_path / "b"], time.monotonic() + 30
    while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = [int(file.read_text()) for file in files]
    os.kill(parent.pid, number)  # to the parent only: a terminal would tell all of them
    assert parent.wait(30) == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, children))


def in_a_worker_of_celery():
    assert sorted(pool.run(square, [(2,), (3,)], 2)) == [(0, 4), (1, 9)]
    assert current_process().daemon


def test_workers_of_celery_may_start_processes():
    """Celery's are billiard's, daemons to multiprocessing; which they are again afterwards."""
    worker = Process(target=in_a_worker_of_celery, daemon=True)
    worker.start()
    worker.join()
    assert worker.exitcode == 0


def test_a_process_that_hangs_is_ended_and_told_of():
    with pytest.raises(ProvingFailed, match=r"finished a task within 1\.5 s"):
        list(pool.run(time.sleep, [(600,)], 1, patience=1.5))
