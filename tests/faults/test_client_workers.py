"""A client's own workers over a broker of its own, which is killed while they prove: nothing of it is waited for.

Messages only wake; the folder that the machines share is the truth (decision 0090).
"""

import signal

import pytest

from prover_worker.prove import ProofFolder
from prover_worker.work_folder import Site
from prover_worker.work_queue import Messages
from tests.faults.conftest import require
from tests.faults.tally import TALLY
from tests.prover_worker.conftest import built, cache, claim, client, mask, opened  # noqa: F401 - fixtures
from tests.prover_worker.story import failures
from tests.prover_worker.test_work import Worker, files, make_crew, prove, proving, under_way, until
from tests.services import RabbitMq, Redis

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("kind", [Redis, RabbitMq])
def test_broker_of_clients_workers_is_killed(kind, place, claim, cache, tmp_path):  # noqa: F811
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
