"""How many processes fit, from files as the kernel writes them."""

import logging
import re
import resource
import subprocess
import sys

import numpy as np
import pytest

from prover_worker import agent, memory
from prover_worker.backend import CircuitFiles
from prover_worker.memory import peak_bytes

MEMINFO = "MemTotal: 16000000 kB\nMemFree: 100000 kB\nMemAvailable: 4000000 kB\n"


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "group").mkdir()
    return tmp_path


def free(machine):
    return memory.free_bytes(machine / "meminfo", machine / "group", machine / "own")


def limit(machine, most, used="0", cached=0, group="group"):
    for name, text in (("memory.max", most), ("memory.current", used), ("memory.stat", f"inactive_file {cached}")):
        (machine / group / name).write_text(text + "\n")


def test_the_machine_says_what_is_available(machine):
    assert free(machine) == 4_096_000_000


def test_a_control_group_may_leave_less(machine):
    limit(machine, "1000000000", "300000000", 50_000_000)
    assert free(machine) == 750_000_000
    limit(machine, "max")
    assert free(machine) == 4_096_000_000


def test_it_may_be_one_further_in_or_any_around_it(machine):
    """As under systemd; the machine's own one has no limit and no such files."""
    (machine / "own").write_text("1:cpu:/other\n0::/user.slice/agent.service\n")
    for name, most in (("user.slice", 2_000_000_000), ("user.slice/agent.service", 900_000_000)):
        (machine / "group" / name).mkdir()
        limit(machine, str(most), "500000000", group=f"group/{name}")
    assert free(machine) == 400_000_000
    limit(machine, "600000000", "500000000", group="group/user.slice")
    assert free(machine) == 100_000_000


def test_it_may_be_of_the_first_version(machine):
    """In a container, which sees its own as the outermost one, under a name that it cannot look up."""
    (machine / "own").write_text("9:name=systemd:/\n4:memory:/docker/0af3\n0::/\n")
    group = machine / "group" / "memory"
    group.mkdir()
    (group / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 50000000\n")
    (group / "memory.usage_in_bytes").write_text("300000000\n")
    for most, left in (("1000000000", 750_000_000), ("9223372036854771712", 4_096_000_000)):
        (group / "memory.limit_in_bytes").write_text(f"{most}\n")
        assert free(machine) == left


def test_where_neither_says_nothing_is_known(tmp_path):
    nothing = tmp_path / "none"
    assert memory.free_bytes(nothing, nothing, nothing) is None


def test_here_something_is_known():
    assert memory.free_bytes() > 0


def test_processes_that_would_not_fit_are_not_started(tmp_path, monkeypatch, caplog):
    """And a single one that would not is warned of, which may pass."""
    key = tmp_path / "pk"
    key.write_bytes(b"")
    with key.open("r+b") as file:
        file.truncate(100_000_000)  # a sparse file: each process then takes some 400 MB
    circuit = CircuitFiles(key, key, key, key, key)
    warned = {
        900_000_000: "400 MB, 900 MB of memory are free: 2 instead of 4 processes",
        10**8: "400 MB, 100 MB of memory are free: one process is tried, and may be killed for it",
    }
    tried = ((10**10, 4, 4), (900_000_000, 4, 2), (10**8, 4, 1), (10**8, 1, 1), (None, 4, 4))
    for available, wanted, fitting in tried:
        monkeypatch.setattr(memory, "free_bytes", lambda available=available: available)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert memory.fitting_jobs(wanted, circuit) == fitting
        assert "".join(caplog.messages).removeprefix("a process that proves takes some ") == warned.get(
            available, ""
        )


_LIMITED = """
import resource
from prover_worker.memory import balance
resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, resource.RLIM_INFINITY))
print(balance(512_000_000))
"""


def test_a_limit_for_each_process_is_told_too():
    child = subprocess.run([sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=True)
    assert re.fullmatch(
        r"a process that proves takes some 512 MB, \d+ MB of memory are free, of which one process gets no more "
        r"than 3000 MB \(`ulimit -v`\)\n",
        child.stdout,
    )


def test_an_agent_without_memory_says_so(tmp_path, capsys):
    def make_agent(*_arguments, **_named):
        bytearray(1 << 60)

    command = ["--state", str(tmp_path / "state"), "--progress", "none", "status"]
    assert agent.main(command, make_agent) == 2
    said = r"agent: no memory is left \(\d+ MB of memory are free now\); run the same command again to go on\n"
    assert re.fullmatch(said, capsys.readouterr().err)


_CHILD = """
import resource
from prover_worker.memory import peak_bytes
print(peak_bytes(), 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_processs_peak_is_its_own_and_not_its_parents():
    """What subprocess and multiprocessing start begins, for getrusage, with what its parent held."""
    held = np.ones(200_000_000, dtype=np.uint8)
    child = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True)
    own, said = map(int, child.stdout.split())
    assert own < 150_000_000 < 200_000_000 <= said
    assert peak_bytes() >= held.nbytes


def test_where_the_kernel_does_not_say_the_peak_getrusage_does(tmp_path):
    assert peak_bytes(tmp_path / "none") == 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
