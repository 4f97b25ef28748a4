"""`unlearning-verify` as an auditor runs it: on a real window with real proofs, and where something was forged."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ledger.statements import keys, predicates
from ledger.statements.statement import sign_statement
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from prover_worker.audit import proofs as checking
from prover_worker.audit.command import main
from prover_worker.bundle import ProofBundle, format_bundle, parse_bundle
from tests.bundles import Bundle
from tests.ledger.witness.parts import signer
from tests.prover_worker.dying import Killed

ROOT = Path(__file__).resolve().parent.parent.parent
HIDDEN = ("celery", "django", "ezkl", "httpx2", "onnx", "psycopg", "rest_framework", "safetensors", "timm", "torch")
STEPS = [
    "bundle", "checkpoint", "witnesses", "inclusion", "kept", "signatures", "events", "policy", "challenges",
    "files", "masks", "proofs", "erasure",
]  # fmt: skip


def trusted(window):
    return ["--log-vkey", window.log.signer.vkey, "--provider-key", keys.public_hex(window.log.provider)]


@pytest.fixture
def verify(window, tmp_path, capsys):
    """The command on a bundle, with the right keys: (exit status, its JSON, what it said)."""

    def run(data, *options):
        (tmp_path / "bundle.zip").write_bytes(data)
        status = main([str(tmp_path / "bundle.zip"), "--json", *trusted(window), *options])
        out, said = capsys.readouterr()
        return status, json.loads(out), " ".join(said.split())

    return run


def states(document):
    return {check["name"]: check["state"] for check in document["checks"]}


def test_everything_is_verified(verify, window, tmp_path):
    (tmp_path / "kept").write_text(window.early)
    status, document, said = verify(window.data, "--checkpoint", str(tmp_path / "kept"))
    assert (status, document["holds"], document["exitStatus"]) == (0, True, 0)
    assert [check["name"] for check in document["checks"]] == STEPS
    assert {name for name, state in states(document).items() if state != "holds"} == {"witnesses"}
    assert (document["accepted"], document["rejected"], document["certificates"]) == (1, 1, 1)
    assert "everything that was checked holds" in said
    assert "1 of 2 requests were erased" in said
    for honest in ("development one", "nothing was left out", "as if they had never seen the data"):
        assert f"{honest}" in said
        assert any(honest in text for text in document["notChecked"])


@pytest.mark.parametrize(
    ("choice", "state", "admitted"),
    [
        ("1", "holds", "1 of 2 proofs"),
        ("points", "holds", "only what they are about was computed again"),
        ("none", "not checked", "verdicts on them are believed"),
    ],
)
def test_proofs_in_part(verify, window, choice, state, admitted):
    status, document, said = verify(window.data, "--proofs", choice)
    assert (status, states(document)["proofs"]) == (0, state)
    assert admitted in said


def test_a_bundle_without_proofs(verify, window):
    bundle = Bundle.of(window.data)
    bundle.manifest["proofs"] = "digests"
    for number in (0, 1):
        del bundle.files[bundle.said(bundle.index("proof", number)).bundle_sha256]
    status, document, said = verify(bundle.pack())
    assert (status, document["holds"]) == (3, False)
    assert "leaves the proofs out" in said
    assert verify(bundle.pack(), "--proofs", "none")[0] == 0


def test_a_verifying_process_that_dies_finds_nothing_out(verify, window, monkeypatch):
    """No outcome is neither acceptance nor a proof that the log is wrong."""
    monkeypatch.setattr(checking, "_backend", lambda _choice: Killed())
    status, document, said = verify(window.data, "--jobs", "1")
    assert (status, document["holds"], document["failed"]) == (3, False, "proofs")
    assert "nothing was found out about them" in said


class TestKeptCheckpoints:
    def test_a_rewritten_log_is_noticed(self, verify, window, tmp_path):
        """The log signed another history for the auditor than for this bundle."""
        forked = Checkpoint("ledger.example/log", window.sizes[0], bytes(32))
        (tmp_path / "kept").write_text(sign_checkpoint(forked, window.log.signer))
        status, document, said = verify(window.data, "--proofs", "none", "--checkpoint", str(tmp_path / "kept"))
        assert (status, document["failed"]) == (1, "kept")
        assert "The log was rewritten" in said

    def test_one_that_the_bundle_says_nothing_about(self, verify, window, tmp_path):
        head = Checkpoint("ledger.example/log", 1, window.log.tree.root(1))
        (tmp_path / "kept").write_text(sign_checkpoint(head, window.log.signer))
        status, document, said = verify(window.data, "--proofs", "none", "--checkpoint", str(tmp_path / "kept"))
        assert (status, document["failed"]) == (1, "kept")
        assert "earlier=1" in said

    def test_another_logs(self, verify, window, tmp_path):
        (tmp_path / "kept").write_text(window.early.replace("ledger.example/log", "ledger.example/gol"))
        assert verify(window.data, "--checkpoint", str(tmp_path / "kept"))[0] == 1


def test_a_witness_that_has_not_cosigned(verify, window):
    status, document, said = verify(window.data, "--proofs", "none", "--witness", signer().vkey, "--quorum", "1")
    assert (status, document["failed"]) == (1, "witnesses")
    assert "cosigned by 0 trusted witnesses" in said


def test_other_keys(window, tmp_path, capsys):
    path = tmp_path / "bundle.zip"
    path.write_bytes(window.data)
    stranger = keys.public_hex(keys.generate())
    log_key, provider = trusted(window)[:2], trusted(window)[2:]
    assert main([str(path), "--proofs", "none"]) == 0
    assert "compare them with what the provider publishes" in " ".join(capsys.readouterr().err.split())
    assert main([str(path), *log_key, "--provider-key", stranger]) == 1
    assert "is not signed by whom it must be" in " ".join(capsys.readouterr().err.split())
    forged = window.log.signer.vkey.rsplit("+", 1)[0] + "+" + "A" * 44
    assert main([str(path), "--log-vkey", forged, *provider]) == 1
    assert main([str(path), "--witness", "nonsense"]) == 2
    assert main([str(tmp_path / "nothing.zip")]) == 2
    assert "cannot be read" in capsys.readouterr().err


class TestCollusion:
    """Provider and client together log a verdict that verification does not give; every signature is right."""

    def forge(self, window, proofs):
        """The second attempt again: other proofs are handed in, and accepted all the same."""
        bundle = Bundle.of(window.data)
        at = bundle.index("proof", 1)
        log = window.until(at)
        del log.files[bundle.said(at).bundle_sha256]
        handed = log.keep(format_bundle(proofs))
        proof = log.say(bundle.said(at).model_copy(update={"bundle_sha256": handed}), window.person)
        log.say(bundle.said(window.verdict).model_copy(update={"proof": proof, "bundle_sha256": handed}))
        return log.bundle(window.sizes)

    def given(self, window):
        bundle = Bundle.of(window.data)
        return parse_bundle(bundle.files[bundle.said(bundle.index("proof", 1)).bundle_sha256])

    def test_no_proofs(self, verify, window):
        some = ProofBundle({0: self.given(window).relations[0]}, self.given(window).ranges)
        status, document, _ = verify(self.forge(window, some), "--proofs", "none")
        assert (status, document["failed"]) == (1, "masks")
        assert "accepts proofs of other chunks than were drawn" in document["reason"]

    def test_swapped_proofs(self, verify, window):
        """One chunk's proof in another's place: seen without a proof system, by what the proofs begin with."""
        given = self.given(window)
        swapped = ProofBundle({0: given.relations[2], 2: given.relations[0]}, given.ranges)
        status, document, _ = verify(self.forge(window, swapped), "--proofs", "points")
        assert (status, document["failed"]) == (1, "proofs")
        assert "whose commitments are not those of the log" in document["reason"]

    def test_a_proof_that_does_not_hold(self, verify, window):
        given = self.given(window)
        spoilt = bytearray(given.relations[0])
        spoilt[-1] ^= 1
        forged = self.forge(window, ProofBundle({**given.relations, 0: bytes(spoilt)}, given.ranges))
        assert verify(forged, "--proofs", "points")[0] == 0  # which is why it says what it has not checked
        status, document, said = verify(forged)
        assert (status, document["failed"]) == (1, "proofs")
        assert "verification gives rejected" in said


GUARD = """
import sys
before = set(sys.modules)
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {hidden!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
if __name__ == "__main__":  # worker processes come here too, and stop at the line before
    from prover_worker.audit.command import main
    status = main(sys.argv[1:])
    print(*sorted({{name.split(".")[0] for name in set(sys.modules) - before}}))
    sys.exit(status)
"""


def test_it_runs_where_little_is_installed(window, tmp_path):
    """Neither Django nor torch nor ezkl can be imported, and what is imported is what the base requires."""
    path = tmp_path / "bundle.zip"
    path.write_bytes(window.data)
    (tmp_path / "guard.py").write_text(GUARD.format(hidden=HIDDEN))

    def run(choice):
        command = [sys.executable, tmp_path / "guard.py", path, *trusted(window), "--proofs", choice, "--jobs", "1"]
        environment = {"PYTHONPATH": f"{ROOT}", "PATH": ""}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)

    done = run("points")
    assert done.returncode == 0, done.stderr
    owners = packages_distributions()
    used = {normal(owner) for name in done.stdout.split() for owner in owners.get(name, ())}
    assert {"pydantic", "pynacl", "rich", "zksnake"} <= used
    assert used - closure("unlearning-ledger") == set()
    done = run("all")
    assert done.returncode == 3, done.stderr
    assert "unlearning-ledger[proofs]" in done.stderr


def normal(name):
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(root):
    """Distributions that the project's base requires, and those that they require."""
    text = (ROOT / "pyproject.toml").read_text()
    assert f'name = "{root}"' in text
    base = text.split("\ndependencies = [", 1)[1].split("]", 1)[0]
    found, waiting = set(), re.findall(r'"([^"]+)"', base)
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if normal(requirement.name) not in found:
            found.add(normal(requirement.name))
            waiting += distribution(requirement.name).requires or ()
    return found


class TestByHand:
    """The commands of docs/verify-by-hand.md, all of them, by a shell that knows nothing of this project."""

    COMMANDS = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs" / "verify-by-hand.md").read_text(), re.MULTILINE | re.DOTALL
    )

    def run(self, window, folder, data):
        path = folder / "bundle.zip"
        path.write_bytes(data)
        environment = {
            "PATH": os.environ["PATH"], "BUNDLE": str(path), "LOG_VKEY": window.log.signer.vkey,
            "PROVIDER_KEY": keys.public_hex(window.log.provider),
        }  # fmt: skip
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(self.COMMANDS)], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def test_a_good_bundle(self, window, tmp_path):
        assert len(self.COMMANDS) == 5
        done = self.run(window, tmp_path, window.data)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Signature Verified Successfully") == 3
        assert f"certificate at log index {window.certificate}" in done.stdout
        assert f"verdict           at log index {window.verdict}" in done.stdout
        assert "proofs            files/" in done.stdout

    def test_a_certificate_that_rests_on_a_list(self, window, tmp_path):
        log, own = window.until(window.certificate), Bundle.of(window.data).said(window.certificate)
        refs = []
        for number, outcomes in enumerate(([], own.outcomes), 1):
            previous = refs[-1] if refs else None
            part = predicates.WindowOutcomes(
                window=own.window, mask=own.mask, number=number, previous=previous, outcomes=outcomes
            )
            refs.append(log.say(part))
        log.say(own.model_copy(update={"outcomes": [], "outcomes_in": refs[-1]}))
        bundle = log.bundle(window.sizes)
        done = self.run(window, tmp_path, bundle)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("window-outcomes") == 2
        doctored = Bundle.of(bundle)
        doctored.leave_out(refs[0].index)
        shutil.rmtree(tmp_path / "by-hand")
        done = self.run(window, tmp_path, doctored.pack())
        assert done.returncode != 0
        assert f"the bundle has no entry {refs[0].index}" in done.stderr

    @pytest.mark.parametrize(
        ("attack", "noticed"),
        [
            ("certificate", "Signature Verification Failure"),
            ("another provider", "Signature Verification Failure"),
            ("file", "wrong file"),
            ("tree", "do not stand in that log"),
            ("checkpoint", "Signature Verification Failure"),
        ],
    )
    def test_a_doctored_one(self, window, tmp_path, attack, noticed):
        bundle = Bundle.of(window.data)
        if attack == "certificate":  # it says more than was signed
            envelope = json.loads(bundle.leaves[window.certificate])
            payload = base64.b64decode(envelope["payload"]).replace(b"the procedure", b"the innocence")
            envelope["payload"] = base64.b64encode(payload).decode()
            bundle.leaves[window.certificate] = json.dumps(envelope, separators=(",", ":")).encode()
        elif attack == "another provider":
            forged = sign_statement(bundle.said(window.certificate), keys.generate())
            bundle.leaves[window.certificate] = forged.to_bytes()
        elif attack == "file":
            digest = bundle.said(bundle.index("proof", 1)).bundle_sha256
            bundle.files[digest] = b"others"
        elif attack == "tree":  # a leaf that the provider signed, but never logged
            said = bundle.said(window.verdict).model_copy(update={"untouched_chunks": 7})
            bundle.leaves[window.verdict] = sign_statement(said, window.log.provider).to_bytes()
        else:
            bundle.checkpoint = bundle.checkpoint.replace("ledger.example/log\n", "ledger.example/gol\n", 1)
        done = self.run(window, tmp_path, bundle.pack())
        assert done.returncode != 0
        assert noticed in done.stdout + done.stderr
