"""A client's machine runs out of memory while it proves, and out of disk at every step.

The promise: one sentence says what is missing and what to do; what was finished is kept, nothing half-written is
left, and the same command goes on once there is more.
"""

import os
import re
import resource
import subprocess
import sys

import psutil
import pytest

from tests.faults.scarce import Disk, proves
from tests.faults.tally import TALLY
from tests.stories.nursery import ROOT, await_that

pytestmark = pytest.mark.faults


@pytest.fixture
def model(provider, global_model, request):
    return provider.register_model(global_model, request.node.name[:60])


def ordered(officer, model):
    """A window with one order."""
    request = officer.file_request()
    officer.approve(request)
    return officer.close_window(model, request)


def met(officer, window):
    """In the first attempt: nothing was logged that was not meant."""
    shown = officer.await_window(window, "settled")
    return [(order["state"], order["attempt"]) for order in shown["orders"]] == [("met", 1)]


def proofs(client):
    """Finished ones, which must not be made again: name, inode, time."""
    found = [(path, path.stat()) for path in client.attempt().glob("proofs-*/*")]
    return {path.name: (status.st_ino, status.st_mtime_ns) for path, status in found}


class Proving:
    """Context manager: `unlearning-agent prove`, whose temporary files lie in a folder of its own."""

    def __init__(self, client, temporary):
        self.temporary, self._out = temporary, client.folder / "proving.txt"
        temporary.mkdir(exist_ok=True)
        command = ["--state", client.state, "--cache", client.cache, "--progress", "none", "--jobs", "1", "prove"]
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prover_worker.agent", *map(str, command)], cwd=ROOT, stdout=out, stderr=out,
                env=os.environ | {"TMPDIR": str(temporary)},
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    @property
    def text(self):
        return self._out.read_text()

    def await_engine(self):
        """Until ezkl has been given a witness."""
        await_that(lambda: proves(self.process.pid), 120, lambda: self.text)

    def take_address_space(self):
        """Leave the process that proves what it has: what it asks for next it does not get (RLIMIT_AS)."""
        children = psutil.Process(self.process.pid).children()
        one = next(child for child in children if any("spawn_main" in word for word in child.cmdline()))
        used = one.memory_info().vms
        resource.prlimit(one.pid, resource.RLIMIT_AS, (used, used))

    def said(self):
        """What it says in the end, which comes with status 2 and is one sentence."""
        assert self.process.wait(180) == 2, self.text
        lines = [line for line in self.text.splitlines() if line]
        assert len(lines) == 1, self.text
        return lines[0]


def starve(client, run, take, words):
    """Prove until one more is finished and the next is in the engine, and then find no memory."""
    kept = proofs(client)
    await_that(lambda: len(proofs(client)) > len(kept) or run.process.poll(), 120, lambda: run.text)
    run.await_engine()
    take()
    said = run.said()
    assert f": a worker process {words} (a process that proves takes some " in said
    assert re.search(
        r" \d+ MB, \d+ MB of memory are free now\); what is finished is kept, so run the same command", said
    )
    assert kept.items() < proofs(client).items()
    assert list(client.state.rglob("*.part")) == []
    assert list(run.temporary.rglob("*")) == []  # the attempt: who reads this disk later looks for weights


def test_memory_runs_out_while_an_agent_proves(provider, officer, model, new_client, tmp_path, group):
    client = new_client()
    client.join(provider, officer, "Clinic Tight")
    window = ordered(officer, model)
    client.call("unlearn")
    officer.await_order(window, "challenged")
    with TALLY.faults("an agent's proving process is killed by the kernel for want of memory"):
        words = "was killed, as the kernel does where memory runs out"
        with Proving(client, tmp_path / "a") as run:
            group.take(run.process.pid)  # the agent, which is larger, and its process
            starve(client, run, lambda: group.leave(1 << 20), words)
        assert group.kills == 1
    with TALLY.faults("an agent's proving process gets no more memory"):
        words = "gave up (SIGABRT), as Rust code does where it gets no more memory"
        with Proving(client, tmp_path / "b") as run:
            starve(client, run, run.take_address_space, words)
        kept = proofs(client)
        assert "accepted at log index" in client.call("run")
        assert kept.items() < proofs(client).items()
        assert met(officer, window)


def creep(client, disk, *command):
    """Run a command with a little more room each time, until it works; returns what found none, file by file."""
    missing, room = set(), 0
    while True:
        disk.leave(room)
        process = client.start(*command)
        if process.wait() == 0:
            return missing
        said = process.text
        found = re.findall(
            r"the disk that holds \S+ is full, so (.+?) was not written; make room and run the", said
        )
        assert found, said
        assert "Traceback" not in said
        assert list(disk.path.rglob("*.part")) == []
        assert list(disk.path.rglob("making-*")) == []
        room = 8192 + room * missing.issuperset(found)
        missing.update(found)
        assert room < 1 << 25, missing


def test_an_agents_disk_runs_full_at_every_step(provider, officer, model, new_client, tmp_path):
    client = new_client()
    with Disk(tmp_path / "disk") as disk:
        client.state, shared = disk.path / "state", client.cache
        with TALLY.faults("an agent's disk is full while it enrols and commits"):
            creep(client, disk, *client.invited(officer, "Clinic Small", provider.address))
            missing = creep(client, disk, *client.committing)
            assert missing >= {"folder.json", "srs"}, missing
            assert len(missing) > 3, missing
        window = ordered(officer, model)
        with TALLY.faults("an agent's disk is full while it unlearns and claims"):
            missing = creep(client, disk, "unlearn")
            assert "folder.json" in missing
            assert len(missing) > 3, missing
        officer.await_order(window, "challenged")
        with TALLY.faults("an agent's disk is full while it makes proving keys"):
            client.cache = disk.path / "keys"
            disk.leave(1 << 20)
            said = client.call("prove", expect=2)
            assert f"the disk that holds {client.cache} is full, so a proving key was not written" in said
            assert [path.name for path in client.cache.iterdir()] == [".lock"]
            client.cache = shared
        with TALLY.faults("an agent's disk is full while it proves and hands in"):
            missing = creep(client, disk, "prove")
            assert any(name.startswith(("relation-", "range-")) for name in missing), missing
            creep(client, disk, "run")
            assert met(officer, window)
