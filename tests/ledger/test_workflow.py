"""The whole flow, and every rule about who may do what and in which order."""

from __future__ import annotations

import hashlib
import uuid

import pytest

from ledger import blobs, log, models, queue, vault
from ledger.statements import canonical, keys, predicates
from ledger.statements.dsse import Envelope
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle, multiproof
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import NoteVerifier
from ledger.workflow import claims, clients, commitments, jobs, proofs, releases, windows
from ledger.workflow.certificates import certify
from tests.bundles import Bundle, window_bundle
from tests.ledger.story import CHUNKS, TOTAL, Party, Story, nobody, records, refused, verdict


def test_a_window_from_request_to_certificate(story: Story) -> None:
    party = story.party()
    window = story.masked_window()
    order = window.orders.get()
    assert order.entry.index > window.mask_entry.index > order.client_model.entry.index
    proof = story.proved(party, order)
    record = proofs.record_verdict(proof.uuid, verdict())
    assert record.accepted
    order.refresh_from_db()
    assert order.state == "met"
    assert models.Window.objects.get(pk=window.pk).state == "settled"
    order.client_model.refresh_from_db()
    assert order.client_model.state == "superseded"
    assert order.client_model.unlearned_by == proof.claim
    certificate = certify(window.uuid)[0]
    assert certificate.complete
    said = log.statement(certificate.entry).predicate
    assert isinstance(said, predicates.Certificate)
    assert [outcome.status for outcome in said.outcomes] == ["met"]
    assert said.srs_provenance == "development"
    assert models.DeletionRequest.objects.get().state == "fulfilled"
    assert certify(window.uuid) == [certificate]


def test_the_audit_bundle_can_be_checked_by_a_stranger(story: Story) -> None:
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    certify(window.uuid)
    bundle = Bundle.of(window_bundle(window.uuid))
    verifier = NoteVerifier.parse(bundle.manifest["logVkey"])
    head = open_checkpoint(bundle.checkpoint, verifier, bundle.manifest["origin"])
    leaves = [(index, merkle.leaf_hash(leaf)) for index, leaf in bundle.leaves.items()]
    tree = [(*at, value) for at, value in bundle.tree.items()]
    assert multiproof.fold(leaves, tree, head.size) == head.root
    later = {  # not in every window's story
        "key-rotation", "client-key-revocation", "client-key-addition", "client-key-rotation", "client-retirement",
        "client-model-retirement", "tombstone", "request-acknowledgement", "request-extension", "request-hold",
        "request-closure", "client-suspension", "order-exception", "request-fulfilment", "model-retirement",
        "order-objection", "continuation-challenge", "continuation-proof", "continuation-verdict", "subject-access",
            "report", "window-requests", "window-outcomes",
    }  # fmt: skip
    assert set(bundle.kinds()) == {kind.slug for kind in predicates.PREDICATES.values()} - later
    for digest, data in bundle.files.items():
        assert hashlib.sha256(data).hexdigest() == digest
    assert bundle.consistency
    for size, proof in bundle.consistency.items():
        note = models.Checkpoint.objects.get(size=size).note
        old = open_checkpoint(note, verifier, bundle.manifest["origin"])
        merkle.verify_consistency(old.size, old.root, head.size, head.root, proof)


def test_no_leaf_holds_personal_data(story: Story) -> None:
    name, subject = "Clinic of Doctor Oddname", "Erika Mustermann, born 1964-08-12"
    party = story.party(name)
    request = story.approved_request(subject)
    window = windows.open_window(story.model, None, [request.uuid])
    windows.close_window(window.uuid)
    windows.publish_mask(window.uuid, b"m", 1, TOTAL, {})
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    certify(window.uuid)
    record = vault.unseal(request.subject)
    for entry in models.LogEntry.objects.all():
        payload = Envelope.parse(bytes(entry.envelope)).payload
        for secret in (name, subject, "Mustermann", "Oddname", record["salt"]):
            assert secret.encode() not in payload
    assert subject.encode() not in bytes(request.subject.ciphertext)
    assert record["subject"] == subject
    salt = bytes.fromhex(record.pop("salt"))
    filed = log.statement(request.filed_entry).predicate
    assert isinstance(filed, predicates.DeletionRequest)
    assert filed.commitment == hashlib.sha256(salt + canonical.dumps(record)).hexdigest()


def test_a_sealed_record_does_not_open_in_another_row(story: Story) -> None:
    one, two = vault.seal({"a": 1}), vault.seal({"b": 2})
    two.ciphertext, two.wrapped_key = one.ciphertext, one.wrapped_key
    with pytest.raises(vault.VaultError):
        vault.unseal(two)


class TestEnrolment:
    def test_sending_it_again_changes_nothing(self, story: Story) -> None:
        party = Party(*clients.invite_client("a"))
        first, second = party.enrol(), party.enrol()
        assert (first.entry, first.created, second.created) == (second.entry, True, False)

    def test_a_token_serves_once(self, story: Story) -> None:
        party = story.party(committed=False)
        party.key = keys.generate()
        with refused("token-used", 409):
            party.enrol()

    def test_the_token_must_be_known(self, story: Story) -> None:
        party = Party(clients.invite_client("a")[0], "guess")
        with refused("unknown-token", 401):
            party.enrol()

    def test_the_key_must_sign_itself(self, story: Story) -> None:
        party = Party(*clients.invite_client("a"))
        said = predicates.ClientEnrolment(client=party.uuid, public_key=keys.public_hex(keys.generate()))
        with refused("bad-signature", 401):
            clients.enrol_client(party.sign(said), party.token)

    def test_for_oneself_only(self, story: Story) -> None:
        one, two = (Party(*clients.invite_client(name)) for name in "ab")
        with refused("wrong-client", 403):
            clients.enrol_client(one.enrolment(), two.token)

    def test_one_key_one_client(self, story: Story) -> None:
        one, two = story.party("a", committed=False), Party(*clients.invite_client("b"))
        two.key = one.key
        with refused("key-taken", 409):
            two.enrol()

    @pytest.mark.parametrize(("name", "code", "status"), [("", "bad-name", 422), ("a" * 201, "bad-name", 422)])
    def test_names(self, db: None, name: str, code: str, status: int) -> None:
        with refused(code, status):
            clients.invite_client(name)

    def test_a_name_is_used_once(self, db: None) -> None:
        clients.invite_client("a")
        with refused("name-taken", 409):
            clients.invite_client(" a ")


class TestReleases:
    def test_twice_is_once(self, story: Story) -> None:
        assert releases.register_circuit(*story.circuit_release()) == story.circuit
        assert story.release_model() == story.model
        assert log.size() == 2

    def test_files_must_be_those_of_the_release(self, story: Story) -> None:
        predicate, paths = story.circuit_release()
        paths["range_vk"].write_bytes(b"other")
        with refused("wrong-digest", 422):
            releases.register_circuit(predicate, paths)
        del paths["srs"]
        with refused("wrong-roles", 422):
            releases.register_circuit(predicate, paths)

    def test_a_file_must_exist(self, story: Story) -> None:
        predicate, paths = story.circuit_release()
        paths["srs"].unlink()
        with refused("unreadable-file", 422):
            releases.register_circuit(predicate, paths)


class TestCommitments:
    @pytest.fixture
    def party(self, story: Story) -> Party:
        return story.party(committed=False)

    def test_again_is_the_same(self, story: Story, party: Party) -> None:
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        first = commitments.accept_commitment(party.sign(said))
        second = commitments.accept_commitment(party.sign(said))
        assert (first.entry, second.created) == (second.entry, False)
        assert models.ClientModel.objects.count() == 1

    def test_a_new_one_supersedes(self, story: Story, party: Party) -> None:
        old, new = story.commit(party), story.commit(party)
        old.refresh_from_db()
        assert (old.state, new.state) == ("superseded", "current")

    def test_not_while_an_order_is_pending(self, story: Story, party: Party) -> None:
        story.commit(party)
        story.masked_window()
        with refused("order-pending", 409):
            story.commit(party)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"chunks": CHUNKS + 1}, "wrong-chunks"),
            ({"weights_root": "00" * 32}, "wrong-root"),
            ({"curvature_root": "00" * 32}, "wrong-root"),
            ({"weights_sha256": "00" * 32}, "missing-blob"),
            ({"model": LogRef(index=0, leaf_hash="00" * 32)}, "wrong-reference"),
            ({"circuit": LogRef(index=99, leaf_hash="00" * 32)}, "wrong-reference"),
        ],
    )
    def test_what_does_not_fit(self, story: Story, party: Party, changes: dict, code: str) -> None:
        with refused(code, 422):
            story.commit(party, **changes)

    def test_model_and_circuit_are_not_interchangeable(self, story: Story, party: Party) -> None:
        with refused("wrong-reference", 422):
            story.commit(party, model=log.entry_ref(story.circuit.entry))

    def test_sizes(self, story: Story, party: Party) -> None:
        data, root = records(CHUNKS + 1, 32)
        with refused("wrong-size", 422):
            story.commit(party, weights_sha256=party.upload(data), weights_root=root)
        with refused("wrong-size", 422):
            story.commit(party, weights_sha256=party.upload(data[:-1]), weights_root=root)

    def test_anothers_upload_does_not_count(self, story: Story, party: Party) -> None:
        other = story.party("other", committed=False)
        data, root = records(CHUNKS, 32)
        with refused("missing-blob", 422):
            story.commit(party, weights_sha256=other.upload(data), weights_root=root)

    def test_the_providers_files_do_not_count_either(self, story: Story, party: Party) -> None:
        data, root = records(CHUNKS, 32)
        with refused("missing-blob", 422):
            story.commit(party, weights_sha256=blobs.put(data)[0].sha256, weights_root=root)

    def test_nobody_speaks_for_another(self, story: Story, party: Party) -> None:
        other = story.party("other", committed=False)
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        with refused("wrong-client", 403):
            commitments.accept_commitment(other.sign(said))

    def test_a_key_must_be_enrolled(self, story: Story, party: Party) -> None:
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        with refused("unknown-key", 401):
            commitments.accept_commitment(sign_statement(said, keys.generate()).to_bytes())

    def test_the_hint_does_not_replace_the_signature(self, story: Story, party: Party) -> None:
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        forged = sign_statement(said, keys.generate()).to_bytes()
        envelope = canonical.loads(forged, "x")
        envelope["signatures"][0]["keyid"] = keys.keyid(party.key)
        with refused("bad-signature", 401):
            commitments.accept_commitment(canonical.dumps(envelope))


def test_a_round_of_the_beat_publishes_what_is_new(story: Story) -> None:
    jobs.sweep()
    head = log.latest_checkpoint()
    assert head is not None
    assert head.size == log.size()


def test_only_failed_jobs_are_started_anew(story: Story) -> None:
    story.closed_window()
    job = models.Job.objects.get()
    with refused("not-failed", 409):
        jobs.retry_job(job.uuid)
    queue.fail(job.uuid, "no such dataset")
    jobs.retry_job(job.uuid)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("queued", 0)


def test_unknown_targets(story: Story) -> None:
    for call in (
        lambda: windows.close_window(nobody()),
        lambda: windows.mask_case(uuid.uuid4()),
        lambda: claims.draw_challenge(nobody()),
        lambda: proofs.verification_case(nobody()),
        lambda: proofs.record_verdict(nobody(), verdict()),
        lambda: certify(nobody()),
        lambda: window_bundle(nobody()),
    ):
        with refused("not-found", 404):
            call()
