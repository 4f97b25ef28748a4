"""A client's key grows old, and one of its machines is stolen.

The promise: a client changes its keys by itself, in the middle of anything, and nothing it has to prove is lost. A
key that was revoked does nothing any more, from that moment on.
"""

import shutil
from signal import SIGTERM

import pytest

from tests.stories.client import Client

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(provider, officer, model, new_client):
    client = new_client()
    client.join(provider, officer, "Clinic Careless")
    return client


@pytest.fixture(scope="module")
def stolen(client, nursery, model, tmp_path_factory):
    """A copy of the folder as it was before anything changed, on somebody else's machine."""
    folder = tmp_path_factory.mktemp("thief")
    shutil.copytree(client.state, folder / "state")
    return Client(nursery, folder, client.model, client.cache)


@pytest.fixture(scope="module")
def order(client, stolen, officer, model):
    request = officer.file_request()
    officer.approve(request)
    return officer.close_window(model, request)


def test_a_key_is_changed_between_claim_and_proof(client, order, officer, nursery, tmp_path):
    """Another machine of the client's proves. It never sees a key, and nothing is left there afterwards."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o700)
    worker = nursery.start(
        "prover_worker.work", "--shared", shared, "--cache", client.cache, "--profile", "edge",
        out=tmp_path / "worker.txt",
    )  # fmt: skip
    client.call("unlearn")
    assert "this folder now signs with key" in client.call("keys", "rotate")
    client.call("prove", options=("--workers", str(shared)))
    assert client.figures()["proofs"] > 1
    worker.kill(SIGTERM)
    assert worker.wait() == 0, worker.text
    assert list((shared / "runs").iterdir()) == []
    assert b"PRIVATE KEY" not in b"".join(path.read_bytes() for path in shared.rglob("*") if path.is_file())
    assert "accepted at log index" in client.call("submit")
    assert officer.get(f"windows/{order}")["orders"][0]["state"] == "met"


def test_the_old_key_is_refused(stolen, client, order):
    said = stolen.call("status", expect=2)
    assert "agent: the ledger refused" in said


def test_a_spare_key_from_the_safe_ends_the_stolen_one(client, order, tmp_path):
    spare = tmp_path / "spare.pem"
    assert "added key" in client.call("keys", "add", "--out", spare, "--label", "safe")
    listed = client.call("keys", "list")
    assert "safe" in listed
    assert "this folder's" in listed
    lost = client.call("keys", "use", spare).split()[-1]
    assert len(lost) == 64
    assert "met" in client.call("status")


def test_log_and_tables_agree(client, order, provider):
    provider.manage("fsck")
