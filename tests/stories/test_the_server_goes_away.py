"""The provider's server is busy, is restarted, and the client's agent just stays.

The promise: an agent that watches survives whatever the server does, comes back no earlier than it was told to,
obeys every order as it comes, and stops cleanly when the machine shuts down. Nobody else works in its folder
meanwhile.
"""

import json
import signal

import pytest

from tests.stories.nursery import await_that
from tests.stories.proxy import Answer, Proxy

pytestmark = pytest.mark.slow
_PAUSE = 2


@pytest.fixture(scope="module")
def proxy(provider):
    with Proxy(provider.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(provider, officer, model, new_client, proxy):
    client = new_client()
    client.join(provider, officer, "Clinic Patient", address=proxy.address)
    return client


@pytest.fixture(scope="module")
def watching(client):
    watch = client.start("watch")
    yield watch
    watch.kill()


def until(process, wanted):
    await_that(lambda: wanted in process.text or process.ended, 90.0, lambda: process.text)
    assert wanted in process.text
    return process.text


def test_a_busy_server_is_asked_again_when_it_said(watching, proxy):
    """Not a moment earlier, and with every request it had refused."""
    refused = []

    def busy(request):
        if len(refused) < 3:
            refused.append((len(proxy.requests), request))
            return Answer(503, b'{"detail": "closed for lunch"}', [("Retry-After", str(_PAUSE))])
        return None

    proxy.before = busy
    await_that(lambda: len(refused) == 3, 60.0, lambda: watching.text)
    proxy.before = lambda _request: None
    last = refused[-1][1]
    await_that(lambda: proxy.requests[-1].at > last.at, 60.0, lambda: watching.text)
    asked = [request.at for request in proxy.requests]
    for _, request in refused:
        following = min(at for at in asked if at > request.at)
        assert following - request.at >= _PAUSE
    assert "closed for lunch (again in 2.0 s)" in watching.text


def test_an_order_that_comes_while_the_server_restarts_is_obeyed(watching, provider, officer, model):
    provider.stop()
    until(watching, "502")  # what the proxy says when nobody is behind it
    provider.start()
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(model, request)
    said = until(watching, "accepted; the model to deploy is")
    assert "claimed, attempt 1" in said
    assert officer.await_window(window, "settled")["orders"][0]["state"] == "met"
    assert not watching.ended


def test_nobody_else_works_in_the_folder_meanwhile(watching, client):
    said = client.call("run", expect=2)
    assert f"another agent works in {client.state}: process {watching.pid}, `watch` since 20" in said
    assert "met" in client.call("status")  # looking is allowed


def test_it_stops_cleanly_when_told_to(watching, client):
    watching.kill(signal.SIGTERM)
    assert watching.wait() == 0
    assert "Traceback" not in watching.text
    assert client.call("run").strip() == "no open orders"  # the folder is free again


def test_its_log_tells_a_support_person_what_happened(client):
    log = (client.state / "logs" / "agent.log").read_text()
    for wanted in (
        "watch: python 3.",
        "closed for lunch",
        "cannot reach|502",
        "claimed, attempt 1",
        "stopped by a signal",
    ):
        assert any(part in log for part in wanted.split("|")), wanted


def test_what_support_is_sent_holds_no_secret(client, tmp_path):
    """Keys, seeds, salt, tokens, weights and samples stay; the figures and the log go."""
    import tarfile

    client.call("support-bundle", "--out", tmp_path / "support.tar.gz")
    with tarfile.open(tmp_path / "support.tar.gz") as archive:
        parts = {entry.name: archive.extractfile(entry).read() for entry in archive}
    overview = json.loads(parts["overview.json"])
    assert overview["said"]["agent.json"]["client"] == client.handle
    assert overview["versions"]["ezkl"] == "23.0.5"
    assert any(file["name"] == "commitment/factors.npz" for file in overview["files"])
    assert b"stopped by a signal" in parts["logs/agent.log"]
    everything = b"\x00".join(parts.values())
    kept, attempt = client.state / "commitment", client.attempt()
    secrets = {
        "key": (client.state / "key.pem").read_bytes().splitlines()[1],
        "salt": json.loads((kept / "others.json").read_text())["salt"].encode(),
        "token": client.token.encode(),
    }
    for path in (kept / "seed", attempt / "seed"):
        secrets |= {str(path): path.read_bytes(), f"{path}, hex": path.read_bytes().hex().encode()}
    assert [name for name, secret in secrets.items() if secret in everything] == []
    assert b"BEGIN PRIVATE KEY" not in everything
    assert not any(name.endswith((".npz", ".safetensors", ".pem", "seed")) for name in parts)
