"""Rotated and lost keys: old proofs hold, old keys sign nothing any more, nobody slips a key of its own in."""

from __future__ import annotations

import dataclasses
import io
import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.test import Client as Browser
from django.utils import timezone

from ledger import keys, log, models
from ledger.fsck.run import rebuild
from ledger.models import LogEntry
from ledger.statements import dsse, predicates
from ledger.statements import keys as key_format
from ledger.statements.dsse import Envelope
from ledger.statements.errors import KeyMaterialError, RuleError, StatementError
from ledger.statements.keyring import KeyRing
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.errors import NoteError
from ledger.tlog.note import NoteSigner
from ledger.workflow import proofs
from ledger.workflow.certificates import certify
from ledger.workflow.clients import enrol_client, reenrol_client
from ledger.workflow.commitments import accept_commitment
from ledger.workflow.errors import WorkflowError
from ledger.workflow.rotation import rotate_key
from prover_worker.audit import opening
from prover_worker.audit.challenges import check_challenges
from prover_worker.audit.opening import Audit, open_bundle
from prover_worker.client import Agent
from prover_worker.errors import AgentError, AuditError
from prover_worker.ledger_client import LedgerClient, Trust
from tests.bundles import Bundle, window_bundle
from tests.ledger.story import Party, Story, verdict

pytestmark = pytest.mark.django_db
REF = predicates.DeletionRequest  # any provider's statement will do below


@pytest.fixture(autouse=True)
def _own_keys(db: None, tmp_path: Path, settings: Any) -> None:
    folder = tmp_path / "data"
    settings.LEDGER_DATA_DIR = folder
    keys.create_missing()


def pinned() -> Trust:
    """What a client or auditor noted down before anything changed."""
    return Trust(settings.LEDGER_ORIGIN, keys.log_signer().vkey, key_format.public_hex(keys.provider_key()))


def audited(window: models.Window, trust: Trust) -> Audit:
    audit = open_bundle(io.BytesIO(window_bundle(window.uuid)), opening.Trust(trust.vkey, trust.provider_key))
    check_challenges(audit)
    return audit


def a_window_across_rotations(story: Story) -> models.Window:
    """Every key changes between two steps of one window, the client's too."""
    party = story.party()
    window = story.masked_window()
    claim = story.claimed(party, window.orders.get())
    rotate_key("provider")
    rotate_key("log")
    _, party.token = reenrol_client(party.row.uuid, "stolen")
    party.key = key_format.generate()
    party.enrol()
    accepted = proofs.accept_proof(party.sign(party.proof(claim)))
    rotate_key("provider")
    proofs.record_verdict(models.ProofSubmission.objects.get(entry=accepted.entry).uuid, verdict())
    rotate_key("log")
    certify(window.uuid)
    return window


class TestRotation:
    def test_old_proofs_hold_from_whichever_key_was_pinned(self, story: Story) -> None:
        trusts = [pinned()]
        window = a_window_across_rotations(story)
        trusts += [pinned(), dataclasses.replace(trusts[0], vkey=pinned().vkey)]
        for trust in trusts:
            assert len(list(audited(window, trust).of(predicates.Certificate))) == 1
        assert rebuild(lambda *_: None).entries == log.size()

    def test_the_bundle_is_refused_under_a_strangers_key(self, story: Story) -> None:
        window, trust = a_window_across_rotations(story), pinned()
        stranger = NoteSigner(settings.LEDGER_ORIGIN, key_format.generate())
        with pytest.raises(AuditError, match="replaces the log's key"):
            audited(window, dataclasses.replace(trust, vkey=stranger.vkey))
        with pytest.raises(AuditError, match="replaces the provider's key"):
            audited(window, dataclasses.replace(trust, provider_key=key_format.public_hex(key_format.generate())))

    @pytest.mark.parametrize("slug", ["key-rotation", "client-key-revocation"])
    def test_a_bundle_without_the_change_is_refused(self, story: Story, slug: str) -> None:
        trust = pinned()
        bundle = Bundle.of(window_bundle(a_window_across_rotations(story).uuid))
        bundle.leave_out(*(index for index in bundle.leaves if bundle.said(index).slug == slug))
        with pytest.raises(AuditError):
            open_bundle(io.BytesIO(bundle.pack()), opening.Trust(trust.vkey, trust.provider_key))

    def test_the_new_key_signs_from_the_next_entry_on(self, story: Story) -> None:
        before = key_format.keyid(keys.provider_key())
        entry = rotate_key("provider")
        after = story.approved_request().filed_entry
        assert entry.signer == before
        assert after.signer == key_format.keyid(keys.provider_key()) != before
        head = log.publish_checkpoint()
        rotate_key("log")
        later = log.publish_checkpoint()
        ring = keys.root_ring().after(keys.rotations())
        for note in (head.note, later.note):
            ring.open_checkpoint(note, settings.LEDGER_ORIGIN)
        with pytest.raises(NoteError):
            keys.root_ring().open_checkpoint(later.note, settings.LEDGER_ORIGIN)

    def test_the_command(self) -> None:
        out = StringIO()
        call_command("rotate_key", "log", stdout=out)
        call_command("rotate_key", "provider", stdout=out)
        assert keys.log_signer().vkey in out.getvalue()
        assert key_format.public_hex(keys.provider_key()) in out.getvalue()

    def test_a_crash_before_the_log_says_so_changes_nothing(self) -> None:
        key = keys.provider_key()
        staged = keys.stage("provider")
        assert key_format.public_hex(keys.provider_key()) == key_format.public_hex(key)
        rotate_key("provider")
        assert key_format.public_hex(keys.provider_key()) == key_format.public_hex(staged)

    def test_a_crash_after_it_is_mended_by_whoever_comes_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        staged = keys.stage("log")
        with monkeypatch.context() as patch:
            patch.setattr(keys, "promote", lambda _role: None)
            rotate_key("log")
        assert key_format.public_hex(keys.log_signer().private_key) == key_format.public_hex(staged)
        assert not keys.path("log.next.pem").exists()

    def test_a_restored_old_key_file_is_not_used(self) -> None:
        old = keys.path(keys.PROVIDER).read_bytes()
        rotate_key("provider")
        keys.path(keys.PROVIDER).write_bytes(old)
        with pytest.raises(KeyMaterialError, match="put that key there"):
            keys.provider_key()


def rotation(role: Any, old: Any, new: Any, *signers: Any) -> Envelope:
    said = predicates.KeyRotation(
        role=role, old_key=key_format.public_hex(old), new_key=key_format.public_hex(new), rotated_at=timezone.now()
    )
    envelope = sign_statement(said, signers[0])
    for key in signers[1:]:
        envelope = dsse.countersign(envelope, key)
    return envelope


class TestRingAttacks:
    """Statements that a thief or a stranger could try to have accepted."""

    provider, new, log_key, stranger = (key_format.generate() for _ in range(4))

    def ring(self) -> KeyRing:
        return KeyRing(key_format.public_hex(self.provider), [(0, key_format.public_hex(self.log_key))])

    def statement(self, key: Any) -> Envelope:
        now = timezone.now()
        return sign_statement(
            REF(request=str(uuid.uuid4()), commitment="ab" * 32, regulation="gdpr", received_at=now,
                due_at=now),
            key,
        )  # fmt: skip

    def test_the_old_key_is_refused_after_a_rotation(self) -> None:
        ring = self.ring()
        ring.open(0, self.statement(self.provider))
        ring.open(1, rotation("provider", self.provider, self.new, self.provider, self.new))
        ring.open(2, self.statement(self.new))
        with pytest.raises(RuleError, match=r"log entry 3 .* is not signed by whom it must be"):
            ring.open(3, self.statement(self.provider))

    @pytest.mark.parametrize("signers", [["new"], ["provider"], ["stranger", "new"], ["stranger"]])
    def test_both_keys_must_sign(self, signers: list[str]) -> None:
        envelope = rotation("provider", self.provider, self.new, *(getattr(self, name) for name in signers))
        with pytest.raises(RuleError, match="not signed by whom it must be"):
            self.ring().open(0, envelope)

    @pytest.mark.parametrize("signers", [["provider", "new"], ["provider", "log_key"], ["log_key", "new"]])
    def test_the_logs_key_changes_with_three_signatures(self, signers: list[str]) -> None:
        envelope = rotation("log", self.log_key, self.new, *(getattr(self, name) for name in signers))
        with pytest.raises(RuleError, match="not signed by whom it must be"):
            self.ring().open(0, envelope)
        self.ring().open(0, rotation("log", self.log_key, self.new, self.provider, self.log_key, self.new))

    def test_only_the_present_key_is_replaced(self) -> None:
        with pytest.raises(RuleError, match="replaces the provider's key"):
            self.ring().open(0, rotation("provider", self.stranger, self.new, self.stranger, self.new))

    def test_no_way_back_to_an_old_key(self) -> None:
        ring = self.ring()
        ring.open(0, rotation("provider", self.provider, self.new, self.provider, self.new))
        with pytest.raises(RuleError, match="in use before"):
            ring.open(1, rotation("provider", self.new, self.provider, self.new, self.provider))

    def test_a_predecessor_is_believed_only_if_the_trusted_key_says_so(self) -> None:
        """A stranger names the trusted key as its successor."""
        forged = rotation("provider", self.stranger, self.provider, self.stranger)
        with pytest.raises(StatementError, match="no valid signature"):
            KeyRing.rooted(key_format.public_hex(self.provider), key_format.public_hex(self.log_key), [(0, forged)])

    def test_a_checkpoint_by_the_wrong_key_for_its_size(self) -> None:
        ring = self.ring()
        ring.open(4, rotation("log", self.log_key, self.new, self.provider, self.log_key, self.new))

        def note(size: int, key: Any) -> str:
            return sign_checkpoint(Checkpoint("o", size, b"r" * 32), NoteSigner("o", key))

        for size, key in ((4, self.log_key), (5, self.new)):
            assert ring.open_checkpoint(note(size, key), "o").size == size
        for size, key in ((5, self.log_key), (4, self.new)):
            with pytest.raises(NoteError, match="not the log's at that size"):
                ring.open_checkpoint(note(size, key), "o")


class TestLostClientKey:
    def test_the_old_key_is_refused_and_what_it_signed_stays(self, story: Story) -> None:
        party = story.party()
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        _, token = reenrol_client(party.row.uuid, "lost")
        with pytest.raises(WorkflowError, match="was revoked"):
            accept_commitment(party.sign(said))
        old, party.key, party.token = party.key, key_format.generate(), token
        party.enrol()
        with pytest.raises(WorkflowError, match="was revoked"):
            accept_commitment(sign_statement(said, old).to_bytes())
        accept_commitment(party.sign(said))
        rebuild(lambda *_: None)

    def test_not_without_a_token_nor_with_an_old_one(self, story: Story) -> None:
        party = story.party()
        old = party.token
        party.key = key_format.generate()
        with pytest.raises(WorkflowError, match="used before"):
            party.enrol()
        reenrol_client(party.row.uuid, "lost")
        for token in ("", old, "guess"):
            with pytest.raises(WorkflowError, match="no invitation has this enrolment token"):
                enrol_client(party.enrolment(), token)

    def test_a_revoked_key_does_not_come_back(self, story: Story) -> None:
        party = story.party()
        _, party.token = reenrol_client(party.row.uuid, "stolen")
        with pytest.raises(WorkflowError, match="enrolled before"):
            enrol_client(other_enrolment(party), party.token)

    def test_twice_gives_a_second_token_and_one_revocation(self, story: Story) -> None:
        party = story.party()
        _, first = reenrol_client(party.row.uuid, "lost")
        _, second = reenrol_client(party.row.uuid, "lost")
        party.key = key_format.generate()
        with pytest.raises(WorkflowError, match="no invitation"):
            enrol_client(party.enrolment(), first)
        enrol_client(party.enrolment(), second)
        assert LogEntry.objects.filter(predicate_type__contains="revocation").count() == 1

    def test_reasons_and_unknown_clients(self, story: Story) -> None:
        with pytest.raises(WorkflowError, match="expected one of lost"):
            reenrol_client(story.party().row.uuid, "drunk")
        with pytest.raises(WorkflowError, match="there is no client"):
            reenrol_client("nobody", "lost")

    def test_the_ring_refuses_what_the_workflow_never_logs(self) -> None:
        client, one, two = "01234567-89ab-cdef-0123-456789abcdef", key_format.generate(), key_format.generate()
        provider = key_format.generate()
        ring = KeyRing(key_format.public_hex(provider), [(0, key_format.public_hex(provider))])

        def enrolment(key: Any) -> Envelope:
            return sign_statement(
                predicates.ClientEnrolment(client=client, public_key=key_format.public_hex(key)), key
            )

        def revocation(index: int, key: Any) -> Envelope:
            ref = LogRef(index=index, leaf_hash="ab" * 32)
            said = predicates.ClientKeyRevocation(
                client=client, enrolled=ref, reason="lost", revoked_at=timezone.now()
            )
            return sign_statement(said, key)

        ring.open(0, enrolment(one))
        with pytest.raises(RuleError, match="while its first key is valid"):
            ring.open(1, enrolment(two))
        with pytest.raises(RuleError, match="not signed by whom it must be"):
            ring.open(1, revocation(0, one))
        with pytest.raises(RuleError, match="is about the key of entry 7"):
            dataclasses.replace(ring, clients=dict(ring.clients)).open(1, revocation(7, provider))
        ring.open(1, revocation(0, provider))
        with pytest.raises(RuleError, match="brings a key that was in use before"):
            ring.open(2, enrolment(one))
        ring.open(2, enrolment(two))


def other_enrolment(party: Party) -> bytes:
    """The same key once more, as a statement that was never logged."""
    said = predicates.ClientEnrolment(client=party.uuid, public_key=key_format.public_hex(party.key))
    return sign_statement(said, party.key, [("again", "ab" * 32)]).to_bytes()


class TestAgent:
    """Against the real interface, without a network."""

    def client(self, trust: Trust, seen: Path, key: Any = None) -> LedgerClient:
        client = LedgerClient("http://localhost", key, trust, seen)
        client._http = wired()
        return client

    def test_it_follows_from_the_keys_it_pinned(self, story: Story, tmp_path: Path) -> None:
        trust = pinned()
        log.publish_checkpoint()
        client = self.client(trust, tmp_path / "seen")
        ref = log.entry_ref(story.model.entry)
        client.provider_statement(ref, predicates.ModelRelease)
        filed = log.entry_ref(a_window_across_rotations(story).requests.get().filed_entry)
        certificate = log.entry_ref(models.Certificate.objects.get().entry)
        log.publish_checkpoint()
        for one in (client, self.client(trust, tmp_path / "seen"), self.client(pinned(), tmp_path / "other")):
            one.provider_statement(ref, predicates.ModelRelease)
            one.provider_statement(filed, predicates.DeletionRequest)
            one.provider_statement(certificate, predicates.Certificate)

    def test_a_statement_by_the_old_key_after_a_rotation(self, story: Story, tmp_path: Path) -> None:
        trust, old = pinned(), keys.provider_key()
        rotate_key("provider")
        filed = story.approved_request().filed_entry
        said = log.statement(filed).predicate.model_copy(update={"commitment": "cd" * 32})
        with transaction.atomic():
            entry = log.append(sign_statement(said, old), key_format.keyid(old))
        log.publish_checkpoint()
        with pytest.raises(AgentError, match="does not check out"):
            self.client(trust, tmp_path / "seen").provider_statement(log.entry_ref(entry), REF)

    def test_an_invented_rotation(self, story: Story, tmp_path: Path) -> None:
        trust, stranger = pinned(), key_format.generate()
        forged = rotation("provider", keys.provider_key(), stranger, stranger)
        with transaction.atomic():
            log.append(forged, key_format.keyid(stranger))
        log.publish_checkpoint()
        with pytest.raises(AgentError, match="key rotations do not check out"):
            self.client(trust, tmp_path / "seen").provider_statement(log.entry_ref(story.model.entry), REF)

    def test_enrol_replace(self, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        party, folder = story.party(committed=False), tmp_path / "agent"
        monkeypatch.setattr(httpx2, "Client", lambda **_: wired())
        agent = Agent(folder, backend=None)  # type: ignore[arg-type]  # nothing is proved here
        _, token = reenrol_client(party.row.uuid, "lost")
        agent.enrol("http://localhost", party.uuid, token)
        before = key_format.public_hex(agent._key)
        with pytest.raises(AgentError, match="used before"):
            agent.replace_key(token)
        _, token = reenrol_client(party.row.uuid, "lost")
        agent.replace_key(token)
        valid = party.row.keys.get(revoked_entry=None)
        assert valid.public_key == key_format.public_hex(agent._key) != before


class Bridge(httpx2.BaseTransport):
    """Hands requests to the application, inside the test's own transaction."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = request.read()
        answer = Browser().generic(
            request.method,
            str(request.url),
            body,
            request.headers.get("Content-Type", ""),
            headers=dict(request.headers),
        )
        return httpx2.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))


_REAL = httpx2.Client


def wired() -> httpx2.Client:
    return _REAL(base_url="http://localhost/api/v1/", transport=Bridge())
