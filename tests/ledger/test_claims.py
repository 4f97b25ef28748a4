"""Claims, challenges, proofs and verdicts: who may do what, and when."""

from __future__ import annotations

import pytest

from ledger import log, models
from ledger.statements import predicates
from ledger.statements.predicates.circuit_release import ROLES
from ledger.workflow import claims, clients, proofs, requests
from tests.ledger.story import CHUNKS, FORGET, TOTAL, Party, Story, records, refused, verdict


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
        assert case.commitment.other_tensors_sha256 == case.claim.other_tensors_sha256

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
