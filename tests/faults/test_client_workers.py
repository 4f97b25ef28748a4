"""A client's own workers over a broker of its own: the broker is killed while they prove, the kernel kills them for
want of memory, the disk that they share runs full.

Messages only wake; the folder that the machines share is the truth (decision 0090).
"""

import contextlib
import re
import signal
import threading
import time

import pytest

from prover_worker.errors import ProvingFailed
from prover_worker.prove import ProofFolder
from prover_worker.work_folder import Site
from prover_worker.work_queue import Messages
from prover_worker.work_run import Terms
from tests.faults.conftest import require
from tests.faults.scarce import Disk, proves
from tests.faults.tally import TALLY
from tests.prover_worker.conftest import *  # noqa: F403 - fixtures
from tests.prover_worker.story import failures
from tests.prover_worker.test_work import Worker, files, make_crew, prove, proving, under_way, until
from tests.services import RabbitMq, Redis

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("kind", [Redis, RabbitMq])
def test_broker_of_clients_workers_is_killed(kind, place, claim, cache, tmp_path):
    require(kind)
    shared, name = tmp_path / "shared", kind.__name__
    with kind(place / f"{name}-of-a-client") as broker:
        crew = make_crew(shared, Messages(Site.open(shared, make=True), broker.url))
        worker = Worker(shared, cache, broker.url)
        seen = []

        def progress(done, total):
            seen.append((done, total))
            if done == 1:
                until(lambda: proving(shared) & under_way(shared))
                broker.kill()  # with whatever messages it holds
            if done == 2:
                broker.start()

        with TALLY.faults(f"{name} of a client's workers killed while they prove"):
            try:
                made, figures = prove(claim, ProofFolder(tmp_path / "proofs"), crew, progress)
            finally:
                assert worker.end(signal.SIGKILL)
            assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
            assert figures.proofs == 3
            assert failures(claim.case(made)) == {}
            assert not files(shared, "*")


#: Of a worker that has grown larger than its proofs: the kernel takes it, where it may choose by size.
_LARGE = """
import sys
if "prover_worker.work" in sys.orig_argv:
    held = bytearray(400_000_000)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
"""


@pytest.mark.parametrize("kind", [Redis, RabbitMq])
def test_the_kernel_kills_clients_workers(kind, place, claim, cache, group, tmp_path, monkeypatch):
    """The process that proves, where one attempt is all there is; then a worker, in the midst of a proof."""
    require(kind)
    shared, name, proofs = tmp_path / "shared", kind.__name__, ProofFolder(tmp_path / "proofs")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "sitecustomize.py").write_text(_LARGE)
    monkeypatch.setenv("TMPDIR", str(temporary))
    with kind(place / f"{name}-of-a-poor-client") as broker, contextlib.ExitStack() as stack:
        messages = Messages(Site.open(shared, make=True), broker.url)
        workers = []

        def hire():
            workers.append(Worker(shared, cache, broker.url))
            stack.callback(workers[-1].end, signal.SIGKILL)
            group.take(workers[-1].process.pid)

        def take_memory(done, _total):
            if done == len(workers) < 3:
                until(lambda: proves(workers[-1].process.pid))
                group.leave(1 << 20)
            if done == 2 and len(workers) == 2:
                until(lambda: workers[1].process.poll() == -signal.SIGKILL)
                group.leave(1 << 30)
                hire()

        hire()
        with TALLY.faults(f"the kernel kills a proving process of a client's worker over {name}"):
            with pytest.raises(ProvingFailed) as told:
                prove(claim, proofs, make_crew(shared, messages, Terms(lease=15, attempts=1)), take_memory)
            assert re.fullmatch(
                r".+ was tried 1 times, the last time so: .+, process \d+: the proving process was killed, as the "
                r"kernel does where memory runs out \(a process that proves takes some \d+ MB, \d+ MB of memory "
                r"are free now\); what is finished is kept, so mend that and run the same command again",
                str(told.value),
            )
            assert group.kills == 1
            assert workers[0].process.poll() is None
            assert not files(shared, "inputs")
            assert len(list(proofs.path.iterdir())) == 1
        workers[0].end(signal.SIGTERM)
        group.leave(1 << 30)
        with TALLY.faults(f"the kernel kills a client's worker over {name}"):
            with monkeypatch.context() as other:
                other.setenv("PYTHONPATH", str(tmp_path))
                hire()
            made, figures = prove(claim, proofs, make_crew(shared, messages, Terms(lease=15)), take_memory)
            assert (group.kills, len(workers), figures.proofs) == (2, 3, 2)
            assert failures(claim.case(made)) == {}
            assert not files(shared, "*")
        assert list(temporary.rglob("*")) == []  # the attempt: who reads this disk later looks for weights


def test_the_disk_that_clients_workers_share_is_full(place, claim, cache, tmp_path, caplog):
    """So that they cannot hand in what they have made, nor take what waits; with room again, they go on."""
    require(Redis)
    proofs = ProofFolder(tmp_path / "proofs")
    with Redis(place / "redis-of-a-full-client") as broker, Disk(tmp_path / "disk") as disk:
        shared, room = disk.path / "shared", threading.Event()
        crew = make_crew(shared, Messages(Site.open(shared, make=True), broker.url))
        worker = Worker(shared, cache, broker.url)

        def fill():
            """Until agent and worker have told their users, and what becomes free as well."""
            told, deadline = f"the disk that holds {shared}", time.monotonic() + 90
            filler = (disk.path / "filler").open("ab", buffering=0)
            with filler:
                while not room.wait(0.001):
                    with contextlib.suppress(OSError):
                        filler.write(bytes(4096))
                    if (told in caplog.text and told in worker.says()) or time.monotonic() > deadline:
                        room.set()
            (disk.path / "filler").unlink()
            disk.leave(1 << 25)

        def progress(done, _total):
            if done == 1 and not room.is_set():
                disk.leave(0)
                filling.start()

        filling = threading.Thread(target=fill)
        with TALLY.faults("the disk that a client's workers share is full while they prove"):
            try:
                made, figures = prove(claim, proofs, crew, progress)
            finally:
                room.set()
                _, said = worker.end(signal.SIGKILL)
            assert "is full: workers wait until there is room" in caplog.text
            assert f"the disk that holds {shared}" in said
            assert figures.proofs == 3
            assert failures(claim.case(made)) == {}
            assert not files(shared, "*")
