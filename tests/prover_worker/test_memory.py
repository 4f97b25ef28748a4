"""How many processes fit, from files as the kernel writes them."""

import logging
import resource
import subprocess
import sys

import numpy as np
import pytest

from prover_worker import memory
from prover_worker.backend import CircuitFiles
from prover_worker.memory import peak_bytes

MEMINFO = "MemTotal: 16000000 kB\nMemFree: 100000 kB\nMemAvailable: 4000000 kB\n"


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "group").mkdir()
    return tmp_path


def free(machine):
    return memory.free_bytes(machine / "meminfo", machine / "group")


def limit(machine, most, used="0", cached=0):
    for name, text in (("memory.max", most), ("memory.current", used), ("memory.stat", f"inactive_file {cached}")):
        (machine / "group" / name).write_text(text + "\n")


def test_the_machine_says_what_is_available(machine):
    assert free(machine) == 4_096_000_000


def test_a_control_group_may_leave_less(machine):
    limit(machine, "1000000000", "300000000", 50_000_000)
    assert free(machine) == 750_000_000
    limit(machine, "max")
    assert free(machine) == 4_096_000_000


def test_where_neither_says_nothing_is_known(tmp_path):
    assert memory.free_bytes(tmp_path / "none", tmp_path / "none") is None


def test_here_something_is_known():
    assert memory.free_bytes() > 0


def test_processes_that_would_not_fit_are_not_started(tmp_path, monkeypatch, caplog):
    key = tmp_path / "pk"
    key.write_bytes(b"")
    with key.open("r+b") as file:
        file.truncate(100_000_000)  # a sparse file: each process then takes some 400 MB
    circuit = CircuitFiles(key, key, key, key, key)
    for available, wanted, fitting in ((10**10, 4, 4), (900_000_000, 4, 2), (10**8, 4, 1), (None, 4, 4)):
        monkeypatch.setattr(memory, "free_bytes", lambda available=available: available)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert memory.fitting_jobs(wanted, circuit) == fitting
        assert bool(caplog.records) == (fitting < wanted)


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
