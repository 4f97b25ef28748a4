"""The whole system, small: real PostgreSQL, real worker and web processes, real proofs, the real offline verifier.

One data folder is used throughout, in the order of a user's day: a run is interrupted with Ctrl-C, the next one
goes through with every way of cheating, and what it leaves behind is audited, unchanged and tampered with.
"""

import base64
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.management.commands.demo import CHEATS
from ledger.statements import keys
from ledger.statements.dsse import Envelope
from ledger.statements.predicates import Verdict
from ledger.statements.statement import sign_statement
from prover_worker import adversary
from prover_worker.audit.command import verify
from prover_worker.audit.opening import Trust
from prover_worker.audit.proofs import Choice
from prover_worker.audit.report import Report
from prover_worker.errors import AuditError
from tests.bundles import Bundle
from tests.docs.fences import blocks

ROOT = Path(__file__).resolve().parent.parent
DEMO = [sys.executable, "manage.py", "demo", "--profile", "small", "--directions"]
pytestmark = pytest.mark.slow


def environment(folder):
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "CELERY_BROKER_URL"}}
    return kept | {"LEDGER_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}


def processes_of(folder):
    """Command lines of running processes that have the data folder in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"LEDGER_DATA_DIR={folder}\0".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if "postgres" not in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def interrupted(folder):
    """A demonstration that gets Ctrl-C while the first client proves."""
    process = subprocess.Popen(
        DEMO, cwd=ROOT, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "compensates, claims, proves" in line:
            time.sleep(4)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
            break
    rest, _ = process.communicate(timeout=60)
    return process.returncode, "".join(lines) + rest


@pytest.fixture(scope="module")
def story(folder, interrupted):
    """The run after the interrupted one, with every way of cheating."""
    done = subprocess.run(
        [*DEMO, "--cheat", "all"], cwd=ROOT, env=environment(folder), capture_output=True, text=True, timeout=700,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def packed(story):
    path = re.search(r"audit bundle\s+(\S+\.zip)", story).group(1)
    return Path(path).read_bytes()


@pytest.fixture(scope="module")
def bundle(packed):
    return Bundle.of(packed)


@pytest.fixture(scope="module")
def published(folder):
    """The keys an outsider would have from the provider, not from the bundle."""
    provider = keys.load_private(folder / "keys" / "provider.pem")
    return keys.public_hex(provider), provider


def test_ctrl_c_ends_the_demonstration_and_its_processes(interrupted, folder):
    code, output = interrupted
    assert code != 0
    assert "interrupted" in output
    assert "Traceback" not in output
    deadline = time.monotonic() + 30
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert processes_of(folder) == []


def test_the_demonstration_knows_every_cheat():
    assert CHEATS == adversary.CHEATS


def test_honest_clients_are_accepted_and_every_cheat_is_caught(story):
    figures = json.loads(story.splitlines()[-1])
    assert figures["cheats_tried"] == figures["cheats_caught"] == len(CHEATS)
    assert story.count("'s model kept: ") == 3  # of the run that was interrupted
    assert story.count("verdict in the log: accepted") == 2
    assert story.count("verdict in the log: rejected") == len(CHEATS)
    assert "the range proof commits to other digits" in story
    assert "the proof commits to another X than the log does" in story


def test_the_log_tells_the_story_in_order(bundle):
    kinds = bundle.kinds()
    firsts = {kind: kinds.index(kind) for kind in kinds}
    order = [
        "circuit-release", "model-release", "client-enrolment", "model-commitment", "deletion-request",
        "identity-check", "request-decision", "window-close", "mask", "order", "claim", "challenge", "proof",
        "verdict", "certificate",
    ]  # fmt: skip
    assert sorted(firsts, key=firsts.get) == order
    assert kinds.count("verdict") == 2 + len(CHEATS)
    assert max(i for i, kind in enumerate(kinds) if kind == "model-commitment") < firsts["mask"]


def run_audit(bundle, published=None, proofs="none"):
    """What the verifier reports. Raises AuditError."""
    report = Report()
    trust = Trust(bundle.manifest["logVkey"], published or bundle.manifest["providerKey"])
    verify(io.BytesIO(bundle.pack()), trust, Choice.parse(proofs), report)
    return report


@pytest.fixture(scope="module")
def followed(story, folder, tmp_path_factory):
    """docs/tutorial.md from beginning to end, in a folder where its first command has been run: output, folder."""
    here = tmp_path_factory.mktemp("tutorial")
    for name in (".venv", "manage.py", "ledger", "prover_worker", "unlearning"):
        (here / name).symlink_to(ROOT / name)
    (here / "var").mkdir()
    (here / "var" / "demo").symlink_to(folder)
    first, *rest = blocks(ROOT / "docs" / "tutorial.md", "sh")
    assert first == "make demo PROFILE=small\n"
    assert "make serve\n" in rest
    script = "\n".join(block for block in rest if block != "make serve\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=here, env=environment(folder),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr, here


def test_the_tutorials_operator_checks_reports_and_saves(followed):
    assert "entries" in followed[0]
    assert json.loads((followed[1] / "report.json").read_text())
    assert (followed[1] / "var" / "backup" / "manifest.json").exists()


def test_a_changed_byte_is_noticed(followed):
    """The tutorial's attack on the bundle."""
    assert "not noticed" not in followed[0]
    assert (followed[1] / "changed.zip").stat().st_size > 0


def test_the_bundle_is_verified_without_the_server(followed):
    """The command as an auditor runs it: every proof again, and every verdict compared."""
    said, here = followed
    assert "everything that was checked holds" in said
    figures = json.loads((here / "verified.json").read_text())
    assert figures["holds"]
    assert (figures["accepted"], figures["rejected"], figures["certificates"]) == (2, len(CHEATS), 1)
    assert figures["srs"] == ["development"]
    assert {check["state"] for check in figures["checks"]} == {"holds", "not checked", "nothing to check"}


# Attacks on the bundle: what somebody who doctors it before handing it on could try. Those on its form are in
# tests/prover_worker/test_hostile_bundles.py.


def flip(raw, position=40):
    raw = bytearray(raw)
    raw[position % len(raw)] ^= 1
    return bytes(raw)


def change_an_entry(bundle):
    index = bundle.index("verdict")
    envelope = json.loads(bundle.leaves[index])
    payload = base64.b64decode(envelope["payload"]).replace(b"accepted", b"rejected")
    envelope["payload"] = base64.b64encode(payload).decode()
    bundle.leaves[index] = json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def break_an_entry(bundle):
    bundle.leaves[bundle.index("verdict")] = flip(bundle.leaves[bundle.index("verdict")], 0)


def change_the_tree(bundle):
    at = next(iter(bundle.tree))
    bundle.tree[at] = flip(bundle.tree[at])


def move_an_entry(bundle):
    index = max(bundle.leaves)
    bundle.leaves[index + 1] = bundle.leaves.pop(index)


def drop_a_verdict(bundle):
    bundle.leave_out(bundle.index("verdict", -1))


def drop_an_enrolment(bundle):
    bundle.leave_out(bundle.index("client-enrolment"))


def drop_an_entry_and_leave_the_tree(bundle):
    del bundle.leaves[bundle.index("order")]
    bundle.manifest["entries"] -= 1


def change_a_file(bundle):
    digest = max(bundle.files, key=lambda digest: len(bundle.files[digest]))
    bundle.files[digest] = flip(bundle.files[digest], 1000)


def rename_a_file(bundle):
    digest = max(bundle.files, key=lambda digest: len(bundle.files[digest]))
    data = flip(bundle.files.pop(digest), 1000)
    bundle.files[hashlib.sha256(data).hexdigest()] = data


def add_a_file(bundle):
    bundle.files[hashlib.sha256(b"more").hexdigest()] = b"more"


def swap_proofs(bundle):
    """Each proof under the other's name."""
    first, second = (bundle.said(bundle.index("proof", number)).bundle_sha256 for number in (0, 1))
    bundle.files[first], bundle.files[second] = bundle.files[second], bundle.files[first]


def change_the_checkpoint(bundle):
    lines = bundle.checkpoint.split("\n")
    lines[1] = str(int(lines[1]) - 1)
    bundle.checkpoint = "\n".join(lines)


def mix_checkpoints(bundle):
    """A challenge's checkpoint, which the log signed too, in the place of the head."""
    bundle.checkpoint = bundle.said(bundle.index("challenge")).checkpoint
    bundle.manifest["size"] = int(bundle.checkpoint.split("\n")[1])


def state_another_size(bundle):
    bundle.manifest["size"] += 1


def forget_consistency(bundle):
    bundle.consistency = {}


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (change_an_entry, "do not stand in the log"),
        (break_an_entry, "is no statement of a ledger"),
        (change_the_tree, "do not stand in the log"),
        (move_an_entry, "is due, but|there is no leaf|follows leaf"),
        (drop_a_verdict, "no verdict on it|refers to log entry"),
        (drop_an_enrolment, "not enrolled before"),
        (drop_an_entry_and_leave_the_tree, "is due, but"),
        (change_a_file, "has another SHA-256"),
        (rename_a_file, "lacks"),
        (add_a_file, "that no statement names"),
        (swap_proofs, "has another SHA-256"),
        (change_the_checkpoint, "signature"),
        (mix_checkpoints, "follows leaf|in a tree of"),
        (state_another_size, "is about a checkpoint of size"),
        (forget_consistency, "checkpoint of challenge"),
    ],
)
def test_a_doctored_bundle_is_refused(packed, published, attack, reason):
    doctored = Bundle.of(packed)
    attack(doctored)
    with pytest.raises(AuditError, match=reason):
        run_audit(doctored, published[0])


def test_a_verdict_that_even_the_provider_rewrites_is_refused(packed, published):
    doctored = Bundle.of(packed)
    index = doctored.index("verdict", -1)
    forged = doctored.said(index).model_copy(update={"result": "accepted", "failures": [], "failed_chunks": 0})
    assert isinstance(forged, Verdict)
    doctored.leaves[index] = sign_statement(forged, published[1]).to_bytes()
    with pytest.raises(AuditError, match="do not stand in the log"):
        run_audit(doctored, published[0])


def test_a_bundle_of_another_provider_is_refused(bundle):
    with pytest.raises(AuditError, match="not signed by whom it must be"):
        run_audit(bundle, keys.public_hex(keys.generate()))


def test_nothing_of_the_subject_is_in_the_bundle(packed, bundle):
    payloads = b"".join(Envelope.parse(leaf).payload for leaf in bundle.leaves.values())
    for name in ("subject-", "@example.org"):
        assert name.encode() not in packed + payloads
