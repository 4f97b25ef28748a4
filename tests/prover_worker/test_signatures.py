"""Signatures checked while a bundle is read, by processes or not: a hint only finds the key, it never counts."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.statements import dsse, keys
from ledger.statements.errors import KeyMaterialError
from prover_worker.audit import helpers, signatures
from prover_worker.audit.opening import open_bundle
from prover_worker.errors import AuditError
from tests.prover_worker.window import Log


def resigned(window, at: int, key: object, hint: str) -> Log:
    """The log up to entry `at`, and that signed by `key` with such a hint."""
    log = window.until(at)
    payload = dsse.Envelope.from_leaf(window.log.leaves[at]).payload
    signature = dsse.sign(payload, key).signatures[0]
    leaf = dsse.Envelope(payload, dsse.PAYLOAD_TYPE, (dsse.Signature(hint, signature.sig),)).to_bytes()
    log.leaves.append(leaf)
    log.tree.append(leaf)
    return log


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_hint_never_counts(window, monkeypatch, jobs):
    monkeypatch.setattr(helpers, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(signatures, "_BATCH", 3)

    def opened(data):
        with helpers.helpers(jobs) as processes:
            return open_bundle(io.BytesIO(data), helpers=processes)

    assert opened(window.data).report.states["signatures"] == "holds"
    provider, person, stranger = window.log.provider, window.person, keys.generate()
    name = keys.keyid
    at = window.certificate
    for key, hint in (
        (provider, name(person)),
        (provider, name(stranger)),
        (provider, ""),
    ):  # signed by the right one
        opened(resigned(window, at, key, hint).bundle(window.sizes))
    for key, hint in ((stranger, name(provider)), (person, name(person)), (person, name(provider)), (stranger, "")):
        with pytest.raises(AuditError, match=f"log entry {at} .* is not signed by whom it must be"):
            opened(resigned(window, at, key, hint).bundle(window.sizes))


#: The twelve cases of Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs" (SSR 2020), on which
#: libraries disagree: keys and R of small or mixed order, S beyond the order, spellings that are not canonical.
EDGE_CASES = json.loads((Path(__file__).parent / "testdata" / "ed25519_edge_cases.json").read_text())
_SMALL_KEYS = {0, 1, 10, 11}  # which no statement may bring, nor a reader trust


def _by_openssl(signed: bytes, signature: bytes, key: bytes) -> bool:
    """As the ledger and the client's agent decide."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("number", range(12))
def test_what_is_refused_by_one_library_is_refused_by_both(number):
    signed, key, signature = (bytes.fromhex(EDGE_CASES[number][name]) for name in ("message", "key", "signature"))
    if number in _SMALL_KEYS:
        with pytest.raises(KeyMaterialError, match="small order"):
            keys.public_from_hex(key.hex())
        return
    assert keys.public_from_hex(key.hex()).public_bytes_raw() == key
    holds = signatures._holds(signed, signature, key)
    assert holds == _by_openssl(signed, signature, key)
    # RFC 8032 without the cofactor, S below the order, R compared as it is written.
    assert holds == (number in {2, 3})
