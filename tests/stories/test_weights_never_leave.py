"""A client does not want to show anybody its model or its data.

The promise: enrolling, committing, unlearning and proving send commitments, proofs and signatures. No weight, no
gradient, no curvature, no sample and no secret seed leaves the machine, in no spelling: everything that was sent is
searched for them.
"""

import base64
import binascii
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.stories.proxy import Proxy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story(provider, officer, model, new_client):
    """A client whose every byte goes through a recorder."""
    client = new_client()
    with Proxy(provider.port) as proxy:
        client.join(provider, officer, "Clinic Private", address=proxy.address)
        request = officer.file_request()
        officer.approve(request)
        officer.close_window(model, request)
        assert "accepted" in client.call("run")
        client.call("status")
    return client, proxy.requests


def spellings(sent):
    """A request as it was sent, and whatever base64 in it says: envelopes carry their statements so."""
    yield sent
    for text in re.findall(rb"[A-Za-z0-9+/_-]{40,}={0,2}", sent):
        try:
            yield base64.b64decode(text.replace(b"-", b"+").replace(b"_", b"/") + b"==")
        except binascii.Error:
            continue


def pieces(name, array):
    """Short runs of an array's numbers in the forms in which they could be sent: bytes, hex, decimals."""
    flat = np.asarray(array).ravel()
    size = max(2, 12 // flat.dtype.itemsize)  # 12 bytes or more: nothing that chance would bring about
    for start in range(0, len(flat) - size + 1, size):
        run = flat[start : start + size]
        if len(np.unique(run)) < min(size, 4):  # zeros and ones are nobody's secret
            continue
        for kind in (
            {flat.dtype, np.dtype(np.int32), np.dtype(np.int64)} if flat.dtype.kind == "i" else {flat.dtype}
        ):
            for order in "<>":
                raw = run.astype(kind.newbyteorder(order)).tobytes()
                yield name, raw
                yield name, raw.hex().encode()
        for text in (", ".join(map(str, run)), ",".join(map(str, run))):
            if len(text) >= 12:  # "0,1" stands in many a request
                yield name, text.encode()


def secrets_of(client):
    """Everything that must not leave: weights before and after, grid, factors, solution, samples, seeds, keys."""
    kept, attempt = client.state / "commitment", client.attempt()
    for path in (kept / "model.safetensors", attempt / "unlearned.safetensors"):
        for name, tensor in load_file(path).items():
            yield from pieces(f"{path.name}: {name}", tensor)
    for path in (kept / "factors.npz", attempt / "solution.npz", kept / "evaluation.npz"):
        with np.load(path) as arrays:
            for name in set(arrays.files) - {"touched", "y"}:
                yield from pieces(f"{path.name}: {name}", arrays[name][:2000])
    for path in (kept / "seed", attempt / "seed"):
        yield path.name, path.read_bytes()
        yield path.name, path.read_bytes().hex().encode()
    salt = json.loads((kept / "others.json").read_text())["salt"]
    yield "others.json", salt.encode()
    yield "others.json", bytes.fromhex(salt)
    yield "key.pem", (client.state / "key.pem").read_bytes().splitlines()[1]


def found(requests, secrets):
    """Names of secrets that occur in what was sent."""
    everything = b"\x00".join(piece for request in requests for piece in spellings(request.sent))
    return {name for name, secret in secrets if secret in everything}


def test_the_recorder_saw_the_whole_story(story):
    _, requests = story
    assert sum(request.states for request in requests) == 4  # enrolment, commitment, claim, proof
    assert any(request.uploads for request in requests)


def test_no_weight_no_curvature_no_sample_and_no_secret_was_sent(story):
    client, requests = story
    secrets = list(secrets_of(client))
    assert len({name for name, _ in secrets}) > 10
    assert found(requests, secrets) == set()


@pytest.mark.parametrize("spelling", ["bytes", "base64", "decimals"])
def test_the_search_would_find_a_weight(story, spelling):
    """A client that leaks four weights in an upload, or inside a statement, is noticed."""
    client, requests = story
    with np.load(client.state / "commitment" / "factors.npz") as arrays:
        leaked = arrays["weights"][64:68]
    body = {
        "bytes": leaked.astype("<i4").tobytes(),
        "base64": b'{"payload": "' + base64.b64encode(b"a statement about " + leaked.tobytes() + b"!" * 9) + b'"}',
        "decimals": json.dumps(leaked.tolist()).encode(),
    }[spelling]
    request = type(requests[0])("PUT", "/api/v1/blobs/x", [], b"a proof " + body)
    assert found([*requests, request], secrets_of(client)) >= {"factors.npz: weights"}
