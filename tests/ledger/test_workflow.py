"""The whole flow, and every rule about who may do what and in which order."""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from ledger import blobs, log, models, vault
from ledger.statements import canonical, keys, predicates
from ledger.statements.dsse import Envelope
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.circuit_release import ROLES
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.note import NoteVerifier
from ledger.workflow import claims, clients, commitments, jobs, proofs, releases, requests, windows
from ledger.workflow.bundle import audit_bundle
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from tests.ledger.story import CHUNKS, FORGET, TOTAL, Party, Story, approve, nobody, records, verdict


def refused(code: str, status: int):
    """The next call is refused with this code and status, and the log does not grow."""

    class Refusal:
        def __enter__(self) -> None:
            self.before = log.size()

        def __exit__(self, kind, error, trace) -> bool:
            assert isinstance(error, WorkflowError), f"expected a refusal, got {error!r}"
            assert (error.code, error.status) == (code, status), error.sentence
            assert log.size() == self.before
            return True

    return Refusal()


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
    bundle = audit_bundle(window.uuid)
    verifier = NoteVerifier.parse(bundle["logVkey"])
    head = open_checkpoint(bundle["checkpoint"], verifier, bundle["origin"])
    kinds = []
    for entry in bundle["entries"]:
        leaf = base64.b64decode(entry["envelope"])
        proof = [base64.b64decode(node) for node in entry["proof"]]
        merkle.verify_inclusion(merkle.leaf_hash(leaf), entry["index"], head.size, proof, head.root)
        kinds.append(canonical.loads(Envelope.parse(leaf).payload, "x")["predicateType"].split(":")[-2])
    later = {
        "key-rotation", "client-key-revocation", "tombstone", "request-acknowledgement", "request-extension",
        "request-hold", "request-closure", "client-suspension", "order-exception", "request-fulfilment",
        "model-retirement", "order-objection",
    }  # not in every window's story  # fmt: skip
    assert set(kinds) == {kind.slug for kind in predicates.PREDICATES.values()} - later
    for digest, text in bundle["blobs"].items():
        assert hashlib.sha256(base64.b64decode(text)).hexdigest() == digest
    for step in bundle["consistency"]:
        note = models.Checkpoint.objects.get(size=step["size"]).note
        old = open_checkpoint(note, verifier, bundle["origin"])
        proof = [base64.b64decode(node) for node in step["proof"]]
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
        envelope["signatures"][0]["keyid"] = party.row.keyid
        with refused("bad-signature", 401):
            commitments.accept_commitment(canonical.dumps(envelope))


class TestWindows:
    def test_what_cannot_be_opened(self, story: Story) -> None:
        request = story.approved_request()
        with refused("no-requests", 422):
            windows.open_window(story.model, None, [])
        with refused("not-found", 404):
            windows.open_window(nobody(), None, [request.uuid])
        with refused("wrong-forget-set", 422):
            windows.open_window(story.model, {"forget": {"class": 1}}, [request.uuid])
        other = requests.file_request("gdpr", "x", FORGET | {"class": 3})
        approve(other)
        elsewhere = approve(requests.file_request("gdpr", "y", {"dataset": "else", "class": 3}))
        with refused("wrong-dataset", 422):
            windows.open_window(story.model, None, [request.uuid, elsewhere.uuid])
        windows.open_window(story.model, None, [request.uuid])
        with refused("not-available", 409):
            windows.open_window(story.model, None, [request.uuid])

    def test_the_models_dataset(self, story: Story) -> None:
        request = approve(requests.file_request("gdpr", "x", {"dataset": "else", "class": 1}))
        with refused("wrong-dataset", 422):
            windows.open_window(story.model, None, [request.uuid])

    def test_closed_once_and_then_masked_once(self, story: Story) -> None:
        window = story.closed_window()
        assert models.Job.objects.get().kind == "mask"
        with refused("not-open", 409):
            windows.close_window(window.uuid)
        first = windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {})
        size = log.size()
        assert windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {}) == first
        assert log.size() == size
        with refused("not-closed", 409):
            windows.publish_mask(window.uuid, b"another", 2, TOTAL, {})

    @pytest.mark.parametrize(("masked", "total"), [(0, TOTAL), (TOTAL, TOTAL), (2, TOTAL + 1)])
    def test_the_mask_fits_the_model(self, story: Story, masked: int, total: int) -> None:
        window = story.closed_window()
        with refused("wrong-mask", 422):
            windows.publish_mask(window.uuid, b"mask", masked, total, {})

    def test_one_at_a_time_per_model(self, story: Story) -> None:
        story.masked_window()
        window = windows.open_window(story.model, None, [story.approved_request().uuid])
        with refused("window-pending", 409):
            windows.close_window(window.uuid)

    def test_a_commitment_after_the_mask_gets_no_order(self, story: Story) -> None:
        early = story.party("early")
        window = story.masked_window()
        story.party("late")
        assert [order.client_model.client for order in window.orders.all()] == [early.row]

    def test_what_the_mask_job_gets(self, story: Story) -> None:
        case = windows.mask_case(story.closed_window().uuid)
        assert case.config == {"budget": 0.1, "dataset": "digits", "forget": {"class": 8}}
        assert case.model_path.read_bytes() == b"model"
        assert case.targets == (("a", (3, 4)), ("b", (8,)))
        assert case.total == TOTAL


class TestClaims:
    @pytest.fixture
    def party(self, story: Story) -> Party:
        return story.party()

    @pytest.fixture
    def order(self, story: Story, party: Party) -> models.Order:
        return story.masked_window().orders.get()

    def test_one_pending_at_a_time(self, party: Party, order: models.Order) -> None:
        first = party.sign(party.claim(order))
        accepted = claims.accept_claim(first)
        assert claims.accept_claim(first).entry == accepted.entry
        for attempt in (1, 2):
            with refused("claim-pending", 409):
                claims.accept_claim(party.sign(party.claim(order, attempt)))

    def test_attempts_count_up(self, story: Story, party: Party, order: models.Order) -> None:
        with refused("wrong-attempt", 422):
            claims.accept_claim(party.sign(party.claim(order, 2)))
        proofs.record_verdict(story.proved(party, order).uuid, verdict(accepted=False))
        order.refresh_from_db()
        assert order.state == "rejected"
        assert models.Window.objects.get().state == "settled"
        with refused("wrong-attempt", 422):
            claims.accept_claim(party.sign(party.claim(order, 1)))
        proof = story.proved(party, order, attempt=2)
        assert models.Window.objects.get().state == "masked"
        proofs.record_verdict(proof.uuid, verdict())
        with refused("order-met", 409):
            claims.accept_claim(party.sign(party.claim(order, 3)))

    def test_only_ones_own_order(self, story: Story, party: Party, order: models.Order) -> None:
        other = story.party("other")
        with refused("wrong-reference", 422):
            claims.accept_claim(other.sign(other.claim(order)))

    def test_only_an_order(self, party: Party, order: models.Order) -> None:
        said = party.claim(order).model_copy(update={"order": log.entry_ref(order.client_model.entry)})
        with refused("wrong-reference", 422):
            claims.accept_claim(party.sign(said))

    @pytest.mark.parametrize("count", [0, CHUNKS + 1])
    def test_the_solution_has_between_one_and_all_chunks(
        self, party: Party, order: models.Order, count: int
    ) -> None:
        data, root = records(count, 64)
        said = party.claim(order, solution_sha256=party.upload(data), solution_root=root)
        with refused("wrong-size", 422):
            claims.accept_claim(party.sign(said))

    def test_the_challenge_is_the_first_checkpoint_after(self, party: Party, order: models.Order) -> None:
        log.publish_checkpoint()
        entry = claims.accept_claim(party.sign(party.claim(order))).entry
        claim = models.Claim.objects.get()
        first = log.publish_checkpoint()
        clients.invite_client("noise")
        requests.file_request("gdpr", "noise", FORGET)
        log.publish_checkpoint()
        challenge = claims.draw_challenge(claim.uuid)
        assert challenge.checkpoint == first
        assert first.size == entry.index + 1
        said = log.statement(challenge.entry).predicate
        assert isinstance(said, predicates.Challenge)
        assert said.checkpoint == first.note
        assert challenge.entry.index > entry.index
        assert claims.draw_challenge(claim.uuid) == challenge

    def test_the_challenge_draws_its_checkpoint_if_there_is_none(self, party: Party, order: models.Order) -> None:
        log.publish_checkpoint()
        entry = claims.accept_claim(party.sign(party.claim(order))).entry
        challenge = claims.draw_challenge(models.Claim.objects.get().uuid)
        assert challenge.checkpoint.size == entry.index + 1


class TestProofs:
    @pytest.fixture
    def party(self, story: Story) -> Party:
        return story.party()

    @pytest.fixture
    def order(self, story: Story, party: Party) -> models.Order:
        return story.masked_window().orders.get()

    def test_only_after_the_challenge(self, story: Story, party: Party, order: models.Order) -> None:
        accepted = claims.accept_claim(party.sign(party.claim(order)))
        said = predicates.Proof(
            claim=log.entry_ref(accepted.entry),
            challenge=log.entry_ref(accepted.entry),
            client=party.uuid,
            bundle_sha256=party.upload(b"x"),
        )
        with refused("not-challenged", 409):
            proofs.accept_proof(party.sign(said))

    def test_only_once(self, story: Story, party: Party, order: models.Order) -> None:
        claim = story.claimed(party, order)
        body = party.sign(party.proof(claim))
        first = proofs.accept_proof(body)
        assert proofs.accept_proof(body).entry == first.entry
        with refused("not-challenged", 409):
            proofs.accept_proof(party.sign(party.proof(claim)))

    def test_to_the_right_challenge(self, story: Story, party: Party, order: models.Order) -> None:
        claim = story.claimed(party, order)
        with refused("wrong-reference", 422):
            proofs.accept_proof(party.sign(party.proof(claim, challenge=log.entry_ref(claim.entry))))

    def test_with_ones_own_bundle(self, story: Story, party: Party, order: models.Order) -> None:
        claim = story.claimed(party, order)
        foreign = story.party("other").upload(b"foreign bundle")
        with refused("missing-blob", 422):
            proofs.accept_proof(party.sign(party.proof(claim, bundle_sha256=foreign)))

    def test_not_for_anothers_claim(self, story: Story, party: Party, order: models.Order) -> None:
        claim, other = story.claimed(party, order), story.party("other")
        said = party.proof(claim).model_copy(update={"client": other.uuid})
        with refused("wrong-reference", 422):
            proofs.accept_proof(other.sign(said))

    def test_what_the_verifier_gets(self, story: Story, party: Party, order: models.Order) -> None:
        proof = story.proved(party, order)
        case = proofs.verification_case(proof.uuid)
        assert set(case.circuit_paths) == set(ROLES)
        assert case.circuit_paths["range_vk"].read_bytes() == b"range_vk"
        assert case.total_weights == TOTAL
        assert case.checkpoint_size > case.claim_ref.index
        assert case.checkpoint_origin == "localhost/unlearning-ledger"
        assert len(case.checkpoint_root) == 32
        assert case.commitment_weights.stat().st_size == 32 * CHUNKS
        assert case.claim_solution.stat().st_size == 128
        assert case.bundle_path.exists()
        assert case.mask_path.read_bytes().startswith(b"mask")
        assert case.other_tensors_unchanged

    def test_the_first_verdict_stands(self, story: Story, party: Party, order: models.Order) -> None:
        proof = story.proved(party, order)
        first = proofs.record_verdict(proof.uuid, verdict(accepted=False))
        size = log.size()
        assert proofs.record_verdict(proof.uuid, verdict()) == first
        assert log.size() == size
        order.refresh_from_db()
        assert order.state == "rejected"

    def test_many_failures_still_fit_into_a_leaf(self, story: Story, party: Party, order: models.Order) -> None:
        failures = [(chunk, "ü" * 400) for chunk in range(1000)]
        result = proofs.VerdictResult(False, failures, 1000, 0, 0)
        record = proofs.record_verdict(story.proved(party, order).uuid, result)
        said = log.statement(record.entry).predicate
        assert isinstance(said, predicates.Verdict)
        assert said.failed_chunks == 1000
        assert 0 < len(said.failures) < 200


class TestCertificates:
    def test_not_before_the_mask_nor_while_orders_are_pending(self, story: Story) -> None:
        story.party()
        window = story.closed_window()
        with refused("no-mask", 409):
            certify(window.uuid)
        with refused("no-mask", 409):
            audit_bundle(window.uuid)
        windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {})
        with refused("order-pending", 409):
            certify(window.uuid)

    def test_silence_is_named_once_it_is_late(self, story: Story) -> None:
        story.party()
        window = story.masked_window()
        models.Order.objects.update(due_at=timezone.now() - timedelta(days=1))
        certificate = certify(window.uuid)[0]
        assert not certificate.complete
        said = log.statement(certificate.entry).predicate
        assert isinstance(said, predicates.Certificate)
        assert [(o.status, o.verdict) for o in said.outcomes] == [("unanswered", None)]
        assert models.DeletionRequest.objects.get().state == "in_progress"

    def test_nobody_is_blamed_for_our_delay(self, story: Story) -> None:
        party = story.party()
        window = story.masked_window()
        story.proved(party, window.orders.get())
        models.Order.objects.update(due_at=timezone.now() - timedelta(days=1))
        with refused("order-pending", 409):
            certify(window.uuid)

    def test_a_rejection_is_named(self, story: Story) -> None:
        party = story.party()
        window = story.masked_window()
        proof = story.proved(party, window.orders.get())
        record = proofs.record_verdict(proof.uuid, verdict(accepted=False))
        said = log.statement(certify(window.uuid)[0].entry).predicate
        assert isinstance(said, predicates.Certificate)
        assert said.outcomes[0].status == "rejected"
        assert said.outcomes[0].verdict == log.entry_ref(record.entry)


def test_the_next_window_needs_a_new_commitment(story: Story) -> None:
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    story.commit(party)
    certify(window.uuid)
    assert story.masked_window().orders.count() == 1


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
    jobs.fail_job(job.uuid, "no such dataset", retry=False)
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
        lambda: audit_bundle(nobody()),
    ):
        with refused("not-found", 404):
            call()
