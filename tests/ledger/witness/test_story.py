"""A window's story under witnesses: the challenge and the bundle rest on cosigned checkpoints only."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection, transaction

from ledger import keys, log, publication
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.log import NotCosignedError
from ledger.models import Challenge, Checkpoint, Claim, ProofSubmission, WitnessState
from ledger.statements import predicates
from ledger.statements.keys import public_hex
from ledger.tlog.cosignature import Quorum, open_cosigned
from ledger.tlog.errors import NoteError, QuorumError
from ledger.witness.store import open_signer
from ledger.workflow import claims, proofs
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from prover_worker.agent_state import Folder
from prover_worker.audit import opening
from prover_worker.audit.challenges import check_challenges
from prover_worker.audit.opening import Audit, open_bundle
from prover_worker.errors import AgentError, AuditError
from prover_worker.ledger_client import KeyChain, LedgerClient, Trust, pin
from tests.bundles import Bundle, window_bundle
from tests.ledger.story import Story, verdict
from tests.ledger.witness.parts import signer
from tests.ledger.witness.test_publication import Witnesses

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def witnesses(tmp_path: Path, settings: LazySettings) -> Iterator[Witnesses]:
    made = Witnesses(tmp_path, settings)
    yield made
    made.stop(*list(made.running))


def try_again() -> None:
    WitnessState.objects.update(failures=0)


def test_from_claim_to_audit(witnesses: Witnesses, tmp_path: Path) -> None:
    witnesses.start("a", "b")
    witnesses.configure()
    (tmp_path / "files").mkdir()
    story = Story(tmp_path / "files")
    party = story.party()
    window = story.masked_window()
    order = window.orders.get()
    witnesses.stop("b")

    claim = Claim.objects.get(entry=claims.accept_claim(party.sign(party.claim(order))).entry)
    with pytest.raises(NotCosignedError, match="waits for the cosignatures"):
        claims.draw_challenge(claim.uuid)
    assert (Challenge.objects.count(), Checkpoint.objects.count()) == (0, 0)
    with pytest.raises(WorkflowError, match="waits for the cosignatures") as refused:
        window_bundle(window.uuid)
    assert (refused.value.code, refused.value.status) == ("not-cosigned", 409)

    witnesses.start("b")
    try_again()
    challenge = claims.draw_challenge(claim.uuid)
    said = log.statement(challenge.entry).predicate
    assert isinstance(said, predicates.Challenge)
    trusted = list(witnesses.verifiers.values())
    log_key = keys.log_signer()
    open_cosigned(said.checkpoint, log_key.verifier, log_key.name, trusted).expect(2)

    accepted = proofs.accept_proof(party.sign(party.proof(Claim.objects.get())))
    proofs.record_verdict(ProofSubmission.objects.get(entry=accepted.entry).uuid, verdict())
    certify(window.uuid)
    bundle = Bundle.of(window_bundle(window.uuid))
    check_the_bundle(bundle, witnesses)
    # A head that is not cosigned yet does not hinder a bundle that needs nothing of it.
    story.approved_request("another")
    witnesses.stop("a", "b")
    assert Bundle.of(window_bundle(window.uuid)).checkpoint == bundle.checkpoint
    with pytest.raises(NotCosignedError):
        publication.publish(insist=True)


def open_with(bundle: Bundle, vkeys: list[str] = (), quorum: int | None = None) -> Audit:
    return open_bundle(io.BytesIO(bundle.pack()), opening.Trust(quorum=Quorum.parse(vkeys, quorum)))


def check_the_bundle(bundle: Bundle, witnesses: Witnesses) -> None:
    vkeys = [verifier.vkey for verifier in witnesses.verifiers.values()]
    opened = open_with(bundle, vkeys)
    assert opened.report.figures["cosignatures"] == len(vkeys)
    assert len(check_challenges(opened)) == 1
    stranger = signer("stranger.example", "s")
    open_with(bundle, [*vkeys, stranger.vkey], 2)
    for chosen, quorum in (([stranger.vkey], None), ([*vkeys, stranger.vkey], 3)):
        with pytest.raises(AuditError, match=f"expected at least {quorum or 1}"):
            open_with(bundle, chosen, quorum)
    lines = bundle.checkpoint.split("\n")
    without = "\n".join(line for line in lines if not line.startswith("— a.example"))
    with pytest.raises(AuditError, match="by 1 trusted witnesses"):
        open_with(replace(bundle, checkpoint=without), vkeys)
    open_with(replace(bundle, checkpoint=without))
    spoilt = without + open_signer(witnesses.folder / "a", None).line(b"another head\n", 1)
    with pytest.raises(AuditError, match=r"cosignature by a\.example is not valid"):
        open_with(replace(bundle, checkpoint=spoilt), vkeys)


@pytest.mark.parametrize(
    ("count", "quorum", "complaint"), [(1, 2, "cannot be had"), (0, 1, "cannot be had"), (2, 0, "cannot be had")]
)
def test_what_auditors_and_agents_cannot_ask_for(count: int, quorum: int, complaint: str) -> None:
    vkeys = [signer(f"w{number}", str(number)).vkey for number in range(count)]
    with pytest.raises(QuorumError, match=complaint):
        Quorum.parse(vkeys, quorum)
    with pytest.raises(AgentError, match=complaint):
        pin(RELEASES, None, None, vkeys, quorum)


RELEASES = {"log": {"origin": "o", "vkey": "v"}, "providerKey": "p"}


def test_witness_keys_must_be_keys() -> None:
    for vkeys in (["junk"], [signer().vkey] * 2):
        with pytest.raises(NoteError):
            Quorum.parse(vkeys)
        with pytest.raises(AgentError, match="cannot be relied on"):
            pin(RELEASES, None, None, vkeys)


class Steady(LedgerClient):
    """A client of a ledger that has rotated no keys, which is all it would ask the ledger here."""

    def _keys(self) -> KeyChain:
        return KeyChain.follow(self._pinned(), [])


def test_the_agent_holds_the_log_to_its_witnesses(witnesses: Witnesses, tmp_path: Path) -> None:
    witnesses.start("a", "b")
    witnesses.configure()
    note = publication.publish().note
    alone = note[: note.index("— a.example")]
    log_key = keys.log_signer()
    shown = {"log": {"origin": log_key.name, "vkey": log_key.vkey}, "providerKey": public_hex(keys.provider_key())}
    vkeys = [verifier.vkey for verifier in witnesses.verifiers.values()]
    folder = Folder(tmp_path / "agent")
    trust = pin(shown, None, None, vkeys, 1)
    folder.write_json("trust.json", vars(trust))
    trust = Trust(**folder.read_json("trust.json"))  # as the agent's folder keeps it
    client = Steady("http://ledger.example", trust=trust)
    assert client.open_note(note).size == 0
    with pytest.raises(AgentError, match="expected at least 1"):
        client.open_note(alone)
    both = Steady("http://ledger.example", trust=pin(shown, None, None, vkeys))
    assert both.open_note(note).size == 0
    with pytest.raises(AgentError, match="by 1 trusted witnesses"):
        both.open_note(note[: note.index("— b.example")])
    assert Steady("http://ledger.example", trust=pin(shown, None, None)).open_note(alone).size == 0
    old = {
        "origin": log_key.name,
        "vkey": log_key.vkey,
        "provider_key": shown["providerKey"],
    }  # a folder of an earlier version
    assert Steady("http://ledger.example", trust=Trust(**old)).open_note(alone).size == 0


def test_fsck_checks_heads_and_cosignatures(witnesses: Witnesses, story: Story) -> None:
    """What a stranger with the database's password could change about witnesses, each named."""
    witnesses.start("a", "b")
    witnesses.configure()
    story.party("x")
    publication.publish()
    size = log.size()
    rebuild(lambda *_: None)
    for change, named in (
        ("UPDATE ledger_checkpointproposal SET root = sha256('x')", f"the proposal of size {size} has the root"),
        ("UPDATE ledger_cosignature SET time = time + 1", f"on the head of size {size} is stored with the time"),
        ("UPDATE ledger_cosignature SET line = replace(line, 'a.example', 'c.example')", "cosignature by"),
        (
            "UPDATE ledger_cosignature SET line = overlay(line placing 'AA' from length(line) - 9)",
            "on the head of",
        ),
    ):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # as a superuser: triggers stand aside
            cursor.execute(change)
            with pytest.raises(FsckError, match=named):
                rebuild(lambda *_: None, tables=False)
            transaction.set_rollback(True)
    rebuild(lambda *_: None)
