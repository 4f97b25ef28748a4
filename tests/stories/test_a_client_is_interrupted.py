"""A client's machine is switched off again and again, and its disk runs full.

The promise: whatever moment it happens at, the same command goes on where it stopped. No finished chunk is done
again, nothing is logged twice, and nothing half-written is taken for whole.
"""

import shutil
import subprocess

import pytest

from tests.stories.nursery import await_that
from tests.stories.proxy import Proxy

pytestmark = pytest.mark.slow


class Plug:
    """Kills the process that is running, with SIGKILL, as a power failure would."""

    def __init__(self, proxy):
        self.proxy, self.process = proxy, None

    def pull_at(self, stage):
        """When the process reports this."""
        await_that(lambda: stage in self.process.text, 60.0, lambda: self.process.text[-2000:])
        self.process.kill()
        assert self.process.wait() == -9

    def pull_before(self, chosen):
        """Before a request of this sort reaches the server."""

        def before(request):
            if chosen(request):
                self.process.kill()

        self.proxy.before = before
        assert self.process.wait() == -9
        self.proxy.before = lambda _request: None

    def pull_after(self, chosen):
        """After the server has done what was asked, and before the client hears of it."""

        def after(request, answer):
            if chosen(request):
                assert answer.status in {200, 201}, answer.body
                self.process.kill()
            return answer

        self.proxy.after = after
        assert self.process.wait() == -9
        self.proxy.after = lambda _request, answer: answer


@pytest.fixture(scope="module")
def plug(provider):
    with Proxy(provider.port) as proxy:
        yield Plug(proxy)


@pytest.fixture(scope="module")
def client(provider, officer, model, new_client, plug):
    """Enrolled through the proxy; the power failed while it committed."""
    client = new_client()
    options = client.invited(officer, "Clinic Dark", plug.proxy.address)
    for pull in (plug.pull_before, plug.pull_after):
        plug.process = client.start(*options)
        pull(lambda request: request.states)
    client.call(*options)
    return client


def stamps(folder, pattern):
    """Files that must not be made again: name, inode, time."""
    found = {}
    for path in folder.glob(pattern):
        status = path.stat()
        found[path.name] = (status.st_ino, status.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def committed(client, plug):
    """What was there of single chunks at the power failures, and the log index in the end."""
    options = client.committing
    plug.process = client.start(*options)
    plug.pull_at('{"stage": "curvature')
    plug.process = client.start(*options)
    plug.pull_at('"committing to weights and curvature", "done": 1')
    kept = stamps(client.state / "commitment", "points/*")
    plug.process = client.start(*options)
    plug.pull_before(lambda request: request.uploads)
    plug.process = client.start(*options)
    plug.pull_after(lambda request: request.states)
    return kept, client.call(*options)


def test_a_commitment_goes_on_and_is_logged_once(client, committed, provider):
    kept, said = committed
    assert kept
    assert "committed at log index" in said
    assert client.call("commit", "--weights", "x", "--data", "y") == said  # done: nothing is even read again


@pytest.fixture(scope="module")
def met(client, committed, plug, officer, model):
    """The order, obeyed with the power failing at every step."""
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(model, request)
    for stage in ('"compensating"', '"committing to the solution"'):
        plug.process = client.start("run")
        plug.pull_at(stage)
    plug.process = client.start("run")
    plug.pull_after(lambda request: request.states)  # the claim is logged, and the client does not know
    officer.await_order(window, "challenged")  # and the provider goes on without it
    plug.process = client.start("run")
    plug.pull_at('"proving", "done": 1')
    first = stamps(client.attempt(), "proofs-*/relation-*")
    plug.process = client.start("run")
    plug.pull_at('"proving", "done": 3')
    second = stamps(client.attempt(), "proofs-*/*")
    for pull in (plug.pull_before, plug.pull_after):
        plug.process = client.start("run")
        pull(lambda request: request.uploads)
    plug.process = client.start("run")
    plug.pull_after(lambda request: request.states)  # the proof is logged, and the client does not know
    said = client.call("run")
    return first, second, said, officer.await_window(window, "settled")


def test_the_order_is_met_in_its_first_attempt(met):
    *_, said, window = met
    assert "accepted at log index" in said
    assert [(order["state"], order["attempt"]) for order in window["orders"]] == [("met", 1)]


def test_no_finished_proof_was_made_again(client, met):
    first, second, *_ = met
    now = stamps(client.attempt(), "proofs-*/*")
    assert 1 <= len(first) < len(second) < len(now) == 4  # three chunks, one range proof
    assert first.items() <= second.items() <= now.items()


def test_nothing_half_written_is_left(client, met):
    assert list(client.state.rglob("*.part")) == []
    assert list(client.cache.glob("making-*")) == []


def test_a_command_after_the_end_changes_nothing(client, met):
    before = stamps(client.attempt(), "**/*")
    assert client.call("run").strip() == "no open orders"
    assert stamps(client.attempt(), "**/*") == before


# The disk


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 64 KB, which can be made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing_half_written(
    small_disk, provider, officer, model, new_client
):
    client = new_client()
    client.state = small_disk / "state"
    client.call(*client.invited(officer, "Clinic Small", provider.address))
    said = client.call(*client.committing, expect=2)
    assert "agent: the disk that holds" in said
    assert "is full, so" in said
    assert "Traceback" not in said
    assert list(client.state.rglob("*.part")) == []
    assert shutil.disk_usage(small_disk).total == 65536
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert "committed at log index" in client.call(*client.committing)
    assert (client.state / "key.pem").stat().st_mode & 0o777 == 0o600
