"""Signatures checked while a bundle is read, by processes or not: a hint only finds the key, it never counts."""

from __future__ import annotations

import io

import pytest

from ledger.statements import dsse, keys
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
