"""A clinic personalises its model further, years after it forgot somebody.

The promise: what was forgotten once does not come back with a later version of the model. The client says which
model it continues, and proves that every weight that orders have set to zero still is. A version that does not is
told so before it is logged, or is marked for everybody to see.
"""

import re

import pytest
from safetensors.numpy import load_file, save_file

from tests.stories.provider import audit

pytestmark = pytest.mark.slow


def window_met(officer, model, client):
    """A request from beginning to end, with this client alone."""
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(model, request)
    client.call("run", "--max-drop", 100)
    officer.await_window(window, "settled")
    officer.post(f"windows/{window}/certify")
    return window


@pytest.fixture(scope="module")
def unlearned(provider, officer, model, new_client):
    client = new_client()
    client.join(provider, officer, "Clinic Steady")
    window_met(officer, model, client)
    return client


@pytest.fixture(scope="module")
def retrained(unlearned, tmp_path_factory):
    """The weights after more training, in which nobody kept the zeros."""
    trained = load_file(unlearned.attempt() / "unlearned.safetensors")
    path = tmp_path_factory.mktemp("retrained") / "model.safetensors"
    save_file({name: values + values.dtype.type(2**-12) for name, values in trained.items()}, path)
    return path


def committing(client, weights, *options):
    return "commit", "--weights", weights, "--data", client.model / "data.npz", "--samples", 60, "--anew", *options


def shown(officer, client):
    return officer.get(f"clients/{client.handle}")["models"][-1]


def test_a_model_that_lost_its_zeros_is_not_committed_to(unlearned, retrained, officer):
    said = unlearned.call(*committing(unlearned, retrained), expect=2)
    assert "are not zero any more" in said
    assert "--zero" in said
    assert len(officer.get(f"clients/{unlearned.handle}")["models"]) == 1


def test_with_its_zeros_back_it_proves_that_it_has_them(unlearned, retrained, officer):
    said = unlearned.call(*committing(unlearned, retrained, "--zero"))
    assert "committed at log index" in said
    model = shown(officer, unlearned)
    assert model["continuity"] == "shown"
    assert model["continues"] is not None


def test_later_orders_leave_the_old_zeros_alone(unlearned, officer, model, provider, tmp_path):
    """The factors are zero there too: what the repair does to the other weights cannot reach them."""
    window = window_met(officer, model, unlearned)
    committed = load_file(unlearned.state / "commitment" / "model.safetensors")
    result = load_file(unlearned.attempt() / "unlearned.safetensors")
    zeros = {name: values == 0 for name, values in committed.items()}
    assert any(where.any() for where in zeros.values())
    assert all(not result[name][where].any() for name, where in zeros.items())
    bundle = officer.fetch(f"windows/{window}/bundle")
    log_vkey, provider_key = provider.public_keys
    status, said = audit(bundle, tmp_path / "bundle.zip", log_vkey=log_vkey, provider_key=provider_key)
    assert status == 0, said
    assert re.search(r"continuation \d+ of client \w{8}: accepted, as the log's verdict says", said)


def test_a_version_that_promises_nothing_is_marked(unlearned, retrained, officer):
    unlearned.call(*committing(unlearned, retrained, "--unlinked"))
    assert shown(officer, unlearned)["continuity"] == "unlinked"


def test_log_and_tables_agree(unlearned, provider):
    provider.manage("fsck")
