"""File systems of a few kilobytes: what finds no room says so in a sentence, and leaves nothing half-written."""

import logging
import os
import subprocess
from contextlib import suppress

import pytest
import torch

from prover_worker.agent_log import logging_to
from prover_worker.agent_state import Folder
from prover_worker.errors import AgentError, CircuitError
from prover_worker.ezkl_backend import _call
from prover_worker.work_run import About, Terms, WorkRun
from unlearning import backbones

ITEM = "relation-000007"


@pytest.fixture
def disk(tmp_path):
    """32 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk):
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_a_models_file(disk):
    with pytest.raises(
        AgentError, match=f"the disk that holds {disk} is full, so model was not written; make room"
    ):
        with Folder(disk).appearing("model") as path:
            backbones.save(path, {"weights": torch.zeros(100_000)})
    assert list(disk.iterdir()) == []


def test_a_lease_that_finds_no_room_is_no_attempt(disk):
    run = WorkRun(disk / "runs" / ("a" * 32))
    run.begin(About(circuit="ab" * 32, terms=Terms()))
    run.put(ITEM, b"columns")
    assert not run.is_full()
    fill(disk)
    assert run.is_full()
    with pytest.raises(AgentError, match=f"so {ITEM}.1 was not written"):
        run.take(ITEM, "here")
    assert run.attempt(ITEM) == 0
    (disk / "filler").unlink()
    lease = run.take(ITEM, "here")
    fill(disk)
    with pytest.raises(AgentError, match=f"so {ITEM}.1.over was not written"):
        lease.give_up("no memory")
    os.utime(lease.path, (0, 0))
    assert run.ended(ITEM) == (1, "here has gone silent; the shared disk is full")


def test_a_log_that_finds_no_room_does_not_hide_what_is_wrong(disk):
    def go_wrong():
        with logging_to(Folder(disk), "info"):
            fill(disk)
            for _ in range(200):
                logging.getLogger("prover_worker.agent").info("a line that is written, or not")
            raise AgentError("this is wrong")

    with pytest.raises(AgentError, match="this is wrong"):
        go_wrong()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("[io] No space left on device (os error 28)", OSError),
        ("Disk quota exceeded (os error 122)", OSError),
        ("Cannot allocate memory (os error 12)", MemoryError),
        ("No such file or directory (os error 2)", CircuitError),
        ("anything else", CircuitError),
    ],
)
def test_the_engines_errors_are_told_apart(said, kind):
    def fail():
        raise RuntimeError(f"Failed to run setup: {said}\nmore")

    with pytest.raises(kind) as raised:
        _call("make keys", fail)
    assert "ezkl could not make keys: Failed to run setup" in str(raised.value)
