"""Chunks proved by a client's own workers: real Celery workers as processes, killed while they work."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from prover_worker import agent
from prover_worker.crew import Crew
from prover_worker.errors import AgentError, ProvingFailed
from prover_worker.prove import ChunkWitness, ProofFolder, prove_claim
from prover_worker.work_columns import Made
from prover_worker.work_folder import Site
from prover_worker.work_proving import work_on
from prover_worker.work_queue import Messages
from prover_worker.work_run import Terms
from tests.prover_worker.story import BACKEND, failures

TERMS = Terms(lease=2.5, attempts=3)


def prove(claim, folder, crew, progress=None):
    return prove_claim(
        BACKEND, claim.client.release, claim.client.layout, sorted(claim.solutions),
        lambda c: ChunkWitness(claim.client.secrets[c], claim.solutions[c], claim.rows[c]),
        claim.challenge, folder, progress=progress, crew=crew,
    )  # fmt: skip


def make_crew(path, bell=None, terms=TERMS):
    site = Site.open(path, make=True)
    return Crew(site, bell or Messages(site), BACKEND, terms, poll_seconds=0.05)


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


class Worker:
    """`python -m prover_worker.work` as a process."""

    def __init__(self, shared, cache, broker=""):
        command = [sys.executable, "-m", "prover_worker.work", "--shared", shared, "--cache", cache]
        command += ["--broker", broker] if broker else []
        self._said = b""
        self._saying = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self.process = subprocess.Popen([*map(str, command), "--processes", "1"], stderr=self._saying)

    def says(self):
        """What it has said so far."""
        if not self._saying.closed:
            self._said = os.pread(self._saying.fileno(), 1 << 20, 0)
        return self._said.decode()

    def end(self, number):
        self.process.send_signal(number)
        status, said = self.process.wait(30), self.says()
        self._saying.close()
        return status, said


@pytest.fixture
def start(tmp_path, cache):
    workers = []

    def one():
        workers.append(Worker(tmp_path / "shared", cache))
        return workers[-1]

    yield one
    for worker in workers:
        worker.end(signal.SIGKILL)


def proving(shared):
    """Items of this folder that processes prove now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "prover_worker.work_proving" in words and str(shared) in words:
            found.add(words[words.index(str(shared)) + 3])
    return found


def files(shared, kind):
    return {path.name: path for path in Path(shared).glob(f"runs/*/{kind}/[!.]*")}


def messages(shared):
    return list((shared / "queue" / "messages").glob("*.msg"))


def under_way(shared):
    """Items that have a lease and no proof."""
    return {lease.split(".")[0] for lease in files(shared, "leases")} - set(files(shared, "made"))


def test_agent_and_worker_are_killed_while_they_work_and_others_finish(claim, tmp_path, start):
    """One agent is killed before there is a worker, a second one stopped; one worker is killed while it proves."""
    shared, proofs = tmp_path / "shared", ProofFolder(tmp_path / "proofs")
    crew = make_crew(shared)
    child = os.fork()
    if child == 0:
        prove(claim, proofs, crew)  # nobody works: it waits
        os._exit(0)
    until(lambda: len(messages(shared)) == 3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    first = start()  # there is no agent, and it works on what is there
    until(lambda: files(shared, "made"))
    finished = [path.read_text() for path in files(shared, "made").values()]
    lost, seen = [], []

    def progress(done, total):
        seen.append((done, total))
        if done == 1:
            lost.extend(until(lambda: proving(shared) & under_way(shared)))
            assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
            until(lambda: not proving(shared))  # its process has gone with it
            start()
        if done == 2:
            until(lambda: f"{lost[0]}.2" in files(shared, "leases") and proving(shared) & under_way(shared))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(claim, proofs, crew, progress)
    assert not files(shared, "inputs")
    until(lambda: not proving(shared))  # nor does the worker go on with it
    assert Made.read(finished[0].encode()).proof in {path.read_bytes().hex() for path in proofs.path.iterdir()}
    assert {f"{lost[0]}.1", f"{lost[0]}.2"} <= set(files(shared, "leases"))

    made, figures = prove(claim, proofs, crew, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (2, 3), (3, 3)]
    assert figures.proofs == 1  # what was finished was not done again
    assert figures.peak_mb > 50
    assert failures(claim.case(made)) == {}
    assert not files(shared, "*")  # no secrets are left, nor anything else


# What goes wrong, without a proof made


class Bell:
    """Workers that are functions: each message is answered at once."""

    def __init__(self, answer):
        self.answer, self.told = answer, []

    def wake(self, run, item):
        self.told.append(item)
        self.answer(run, item)


def test_a_machine_that_computes_wrongly_costs_attempts_and_not_the_claim(claim, bundle, tmp_path):
    good = {f"relation-{chunk:06d}": proof for chunk, proof in bundle.relations.items()}
    good["range-000000"] = bundle.ranges[0]

    def answer(name, item):
        run = crew.site.run(name)
        assert run.take(item, "here")
        proof = good[item] if run.attempt(item) == 2 else good[item][:-1] + b"\1"
        run.hand_in(item, Made(proof=proof.hex(), seconds=1, peak_mb=1))

    crew = make_crew(tmp_path / "shared", bell := Bell(answer))
    made, _ = prove(claim, ProofFolder(tmp_path / "proofs"), crew)
    assert made == bundle
    assert sorted(bell.told) == sorted([*good, *good])


def test_after_so_many_attempts_the_last_reason_is_told(claim, tmp_path):
    def answer(name, item):
        lease = crew.site.run(name).take(item, "here")
        lease.give_up("host, process 7: no memory")

    crew = make_crew(tmp_path / "shared", bell := Bell(answer))
    with pytest.raises(ProvingFailed, match=r"relation-000000 was tried 3 times, .*: host, process 7: no memory;"):
        prove(claim, ProofFolder(tmp_path / "proofs"), crew)
    assert bell.told.count("relation-000000") == 3
    assert not files(tmp_path / "shared", "inputs")
    with pytest.raises(ProvingFailed):  # again, with all attempts
        prove(claim, ProofFolder(tmp_path / "proofs"), crew)
    assert bell.told.count("relation-000000") == 6


def test_a_process_without_memory_is_told_of_and_its_worker_rests(opened, cache, tmp_path, monkeypatch):
    """So that a machine with more takes the item meanwhile. Its columns are longer than any memory."""
    run = make_crew(tmp_path / "shared").site.begin("a" * 32, opened, Terms(lease=4))
    item, pauses = "relation-000000", []
    monkeypatch.setattr("time.sleep", pauses.append)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as endless:
        endless.truncate(1 << 50)
        (run.path / "inputs" / item).symlink_to(endless.name)
        work_on(Site(tmp_path / "shared"), cache, "a" * 32, item, "here")
    assert re.fullmatch(
        r"here: the proving process got no more memory \(a process that proves takes some \d+ MB, \d+ MB of memory "
        r"are free now\)",
        run.ended(item)[1],
    )
    assert pauses[-1] == 1


def test_lost_messages_are_sent_again(claim, bundle, tmp_path):
    lost = []

    def answer(name, item):
        if item not in lost:
            lost.append(item)
            return
        run = crew.site.run(name)
        run.take(item, "here")
        kind, key = item.split("-")
        proof = bundle.ranges[0] if kind == "range" else bundle.relations[int(key)]
        run.hand_in(item, Made(proof=proof.hex(), seconds=1, peak_mb=1))

    crew = make_crew(tmp_path / "shared", Bell(answer), Terms(lease=0.2))
    assert prove(claim, ProofFolder(tmp_path / "proofs"), crew)[0] == bundle


def test_a_command_takes_all_work_back(claim, tmp_path):
    shared = tmp_path / "shared"
    crew = make_crew(shared, Bell(lambda _run, _item: None))
    command = [sys.executable, "-m", "prover_worker.work", "--shared", str(shared), "--cancel"]
    said = []

    def cancel():
        until(lambda: len(files(shared, "inputs")) == 3)
        said.append(subprocess.run(command, capture_output=True, text=True, check=False))

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(AgentError, match="this work was taken back"):
        prove(claim, ProofFolder(tmp_path / "proofs"), crew)
    thread.join()
    assert (said[0].returncode, said[0].stdout[:31]) == (0, "3 proofs were still to be made;")
    assert not list((shared / "runs").iterdir())


def test_the_agent_is_told_of_its_workers(tmp_path, monkeypatch, capsys):
    given = {}

    def make_agent(*_arguments, **named):
        given.update(named)
        raise AgentError("that is enough")

    command = ["--state", tmp_path / "state", "--workers", tmp_path / "shared", "--progress", "none", "prove"]
    assert agent.main([*map(str, command)], make_agent) == 2
    assert given["crew"].site == Site.open(tmp_path / "shared")
    assert isinstance(given["crew"].bell, Messages)

    monkeypatch.delitem(sys.modules, "prover_worker.work_queue")
    monkeypatch.setitem(sys.modules, "celery", None)  # as where the extra is not installed
    assert agent.main([*map(str, command)], make_agent) == 2
    said = capsys.readouterr().err
    assert "--workers needs the package celery: pip install 'unlearning-ledger[client,workers]'" in said


def test_a_broker_hears_of_names_only(claim, tmp_path):
    """The attack: who reads the queue looks for weights. There is no more in a message than these names."""
    shared = tmp_path / "shared"
    crew = make_crew(shared)

    def look():
        until(lambda: len(messages(shared)) == 3)
        crew.site.cancel()

    thread = threading.Thread(target=look)
    thread.start()
    with pytest.raises(AgentError):
        prove(claim, ProofFolder(tmp_path / "proofs"), crew)
    thread.join()
    told = []
    with crew.bell._app.connection() as connection:
        queue = connection.SimpleQueue("proving")
        for _ in range(3):
            message = queue.get(timeout=5)
            arguments, named, _ = message.payload
            told.append(arguments)
            assert named == {}
            assert len(str(message.headers)) < 1000
        queue.close()
    assert sorted(item for _, item in told) == ["range-000000", "relation-000000", "relation-000002"]
    assert {len(run) for run, _ in told} == {32}
