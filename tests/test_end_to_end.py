"""The whole system, small: real PostgreSQL, real worker and web processes, real proofs, the real offline verifier.

One data folder is used throughout, in the order of a user's day: a run is interrupted with Ctrl-C, the next one
goes through with every way of cheating, and what it leaves behind is audited, unchanged and tampered with.
"""

import base64
import copy
import functools
import hashlib
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
from ledger.statements.statement import Statement, sign_statement
from prover_worker import adversary, audit
from prover_worker.errors import AuditError
from prover_worker.ezkl_backend import EzklBackend

ROOT = Path(__file__).resolve().parent.parent
DEMO = [sys.executable, "manage.py", "demo", "--profile", "small"]
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
def bundle(story):
    path = re.search(r"audit bundle\s+(\S+\.json)", story).group(1)
    return json.loads(Path(path).read_text())


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
    assert story.count("verdict in the log: accepted") == 2
    assert story.count("verdict in the log: rejected") == len(CHEATS)
    assert "the range proof commits to other digits" in story
    assert "the proof commits to another X than the log does" in story


def test_the_log_tells_the_story_in_order(bundle):
    kinds = [
        Statement.decode(Envelope.parse(base64.b64decode(entry["envelope"])).payload).predicate.slug
        for entry in sorted(bundle["entries"], key=lambda entry: entry["index"])
    ]
    firsts = {kind: kinds.index(kind) for kind in kinds}
    order = [
        "circuit-release", "model-release", "client-enrolment", "model-commitment", "deletion-request",
        "identity-check", "request-decision", "window-close", "mask", "order", "claim", "challenge", "proof",
        "verdict", "certificate",
    ]  # fmt: skip
    assert sorted(firsts, key=firsts.get) == order
    assert kinds.count("verdict") == 2 + len(CHEATS)
    assert max(i for i, kind in enumerate(kinds) if kind == "model-commitment") < firsts["mask"]


def run_audit(document, published=None):
    lines = []
    data = json.dumps(document).encode()
    figures = audit.run(
        data, EzklBackend(), document["logVkey"], published or document["providerKey"], lines.append, lines.append
    )
    return figures, lines


def test_the_bundle_is_verified_without_the_server(bundle, published):
    figures, lines = run_audit(bundle, published[0])
    assert (figures["accepted"], figures["rejected"], figures["certificates"]) == (2, len(CHEATS), 1)
    assert any("development" in line for line in lines)


def test_the_offline_command_line_verifies_and_refuses(bundle, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(bundle))
    bad.write_text(json.dumps(bundle | {"checkpoint": bundle["checkpoint"].replace("localhost", "elsewhere")}))
    command = [sys.executable, "-m", "prover_worker.audit"]
    done = subprocess.run([*command, str(good)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "everything in the bundle holds" in done.stderr
    done = subprocess.run([*command, str(bad)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "✗" in done.stderr


# Attacks on the bundle: what somebody who doctors it before handing it on could try.


def entry_of(document, slug, number=0):
    found = [
        entry
        for entry in sorted(document["entries"], key=lambda entry: entry["index"])
        if Statement.decode(Envelope.parse(base64.b64decode(entry["envelope"])).payload).predicate.slug == slug
    ]
    return found[number]


def flip(text, position=40):
    raw = bytearray(base64.b64decode(text))
    raw[position % len(raw)] ^= 1
    return base64.b64encode(bytes(raw)).decode()


def change_an_entry(document):
    entry = entry_of(document, "verdict")
    entry["envelope"] = flip(entry["envelope"], 200)


def change_an_inclusion_proof(document):
    entry = entry_of(document, "mask")
    entry["proof"][0] = flip(entry["proof"][0])


def move_an_entry(document):
    entry_of(document, "model-commitment")["index"] += 1


def drop_a_verdict(document):
    document["entries"].remove(entry_of(document, "verdict", -1))


def drop_an_enrolment(document):
    document["entries"].remove(entry_of(document, "client-enrolment"))


def change_a_file(document):
    digest = max(document["blobs"], key=lambda digest: len(document["blobs"][digest]))
    document["blobs"][digest] = flip(document["blobs"][digest], 1000)


def rename_a_file(document):
    digest = max(document["blobs"], key=lambda digest: len(document["blobs"][digest]))
    data = flip(document["blobs"].pop(digest), 1000)
    document["blobs"][hashlib.sha256(base64.b64decode(data)).hexdigest()] = data


def change_the_checkpoint(document):
    lines = document["checkpoint"].split("\n")
    lines[1] = str(int(lines[1]) - 1)
    document["checkpoint"] = "\n".join(lines)


def forge_a_verdict(document, provider):
    """Even the provider cannot put another verdict in the place of the logged one."""
    entry = entry_of(document, "verdict", -1)
    statement = Statement.decode(Envelope.parse(base64.b64decode(entry["envelope"])).payload)
    forged = statement.predicate.model_copy(update={"result": "accepted", "failures": [], "failed_chunks": 0})
    assert isinstance(forged, Verdict)
    entry["envelope"] = base64.b64encode(sign_statement(forged, provider).to_bytes()).decode()


def forget_consistency(document):
    document["consistency"] = []


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (change_an_entry, "log entry|inclusion|root|envelope|signature|JSON"),
        (change_an_inclusion_proof, "root|inclusion"),
        (move_an_entry, "root|inclusion|index"),
        (drop_a_verdict, "no verdict on it|not in the bundle"),
        (drop_an_enrolment, "not enrolled before"),
        (change_a_file, "has another SHA-256"),
        (rename_a_file, "lacks"),
        (change_the_checkpoint, "signature"),
        (forget_consistency, "checkpoint of challenge"),
    ],
)
def test_a_doctored_bundle_is_refused(bundle, published, attack, reason):
    document = copy.deepcopy(bundle)
    attack(document)
    with pytest.raises(AuditError, match=reason):
        run_audit(document, published[0])


def test_a_verdict_that_even_the_provider_rewrites_is_refused(bundle, published):
    document = copy.deepcopy(bundle)
    forge_a_verdict(document, published[1])
    with pytest.raises(AuditError, match=r"inclusion|root"):
        run_audit(document, published[0])


def test_a_bundle_of_another_provider_is_refused(bundle):
    with pytest.raises(AuditError, match="not signed by whom it must be"):
        run_audit(bundle, keys.public_hex(keys.generate()))


@functools.cache
def _names():
    return ("subject-", "@example.org")


def test_nothing_of_the_subject_is_in_the_bundle(bundle):
    everything = json.dumps(bundle).encode() + b"".join(
        base64.b64decode(entry["envelope"]) for entry in bundle["entries"]
    )
    payloads = b"".join(Envelope.parse(base64.b64decode(entry["envelope"])).payload for entry in bundle["entries"])
    for name in _names():
        assert name.encode() not in everything + payloads
