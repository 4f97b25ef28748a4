"""Many processes find what one finds: the same verdict, the same first failure, in the same words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import bundle as bench
from ledger.statements import dsse, keys
from tests.bundles import Bundle

#: Verifies each bundle with one, two and three processes; small batches, so that all of them get some.
SCRIPT = """
import json, sys
from prover_worker.audit import command, files, helpers, signatures
helpers._WORTH_PROCESSES, signatures._BATCH, files._BATCH = 0, 3, 2
shared, start = [], helpers.Helpers.start
def watched(self, *args):
    start(self, *args)
    shared.append(self.share)
helpers.Helpers.start = watched
for path in sys.argv[1:]:
    for jobs in "123":
        command.main([path, "--json", "--proofs", "none", "--jobs", jobs])
print(json.dumps(shared))
"""


@pytest.fixture(scope="module")
def log():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench, "CLIENTS", 3)
        patched.setattr(bench, "REQUESTS", 2)
        yield bench.make(3)


def test_what_is_found_does_not_depend_on_the_number_of_processes(log, tmp_path):
    honest = tmp_path / "honest.zip"
    log.write(honest)
    attacks = {"honest": honest.read_bytes()}
    digests = sorted(Bundle.of(attacks["honest"]).files)
    for name, changed in (("first and last", (0, -1)), ("all", range(len(digests))), ("one", (5,))):
        bundle = Bundle.of(attacks["honest"])
        for number in changed:
            bundle.files[digests[number]] = b"\0" * 32 + bundle.files[digests[number]][32:]
        attacks[f"files changed: {name}"] = bundle.pack()
    bundle = Bundle.of(attacks["honest"])
    bundle.files[digests[1]], bundle.files[digests[2]] = bundle.files[digests[2]], bundle.files[digests[1]]
    attacks["files swapped"] = bundle.pack()
    stranger, last = keys.generate(), len(log.leaves) - 1
    for name, forged in (
        ("last", [last]),
        ("two", [last - 1, last]),
        ("early", [4, last]),
        ("all", range(last + 1)),
    ):
        attacks[f"forged: {name}"] = with_forged(log, forged, stranger, tmp_path / "forged.zip")
    paths = []
    for number, data in enumerate(attacks.values()):
        paths.append(tmp_path / f"{number}.zip")
        paths[-1].write_bytes(data)
    command = [sys.executable, "-c", SCRIPT, *map(str, paths)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in said.stderr, said.stderr
    *results, shared = map(json.loads, said.stdout.splitlines())
    assert shared == [False, *[sys.platform == "linux"] * 2] * len(paths), "processes were not used"
    for name, *found in zip(attacks, results[::3], results[1::3], results[2::3], strict=True):
        for one in found:
            one.pop("seconds")
        assert found[0] == found[1] == found[2], name
        assert found[0]["holds"] == (name == "honest"), found[0]
    reasons = dict(zip(attacks, (one["reason"] for one in results[::3]), strict=True))
    assert f"log entry {last - 1} " in reasons["forged: two"]
    assert "log entry 0 " in reasons["forged: all"]
    assert digests[5] in reasons["files changed: one"]


def with_forged(log, places, key, path):
    """A bundle of a log in which somebody else has signed these entries under the hint that the right key has."""
    forged = bench.Log(log.provider, log.signer, files=log.files, sizes=[])
    for at, leaf in enumerate(log.leaves):
        if at in places:
            envelope = dsse.Envelope.from_leaf(leaf)
            (hint,) = [one.keyid for one in envelope.signatures]
            sig = dsse.sign(envelope.payload, key).signatures[0].sig
            leaf = dsse.Envelope(envelope.payload, dsse.PAYLOAD_TYPE, (dsse.Signature(hint, sig),)).to_bytes()  # noqa: PLW2901
        forged.leaves.append(leaf)
        forged.tree.append(leaf)
    forged.write(path)
    return path.read_bytes()
