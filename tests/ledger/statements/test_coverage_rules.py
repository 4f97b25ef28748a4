"""Whoever reads the log sees from it alone how many chunks had to be proved, and that nobody chose them."""

from __future__ import annotations

import hashlib

import pytest

from ledger.statements import coverage_rules
from ledger.statements import predicates as p
from ledger.statements.errors import RuleError
from ledger.statements.predicates.verdict import Caught
from tests.ledger.statements.samples import REF, SHA, TIME, UUID

SECRET = b"s" * 32
SAMPLED = p.Order(
    order=UUID, window=UUID, client=UUID, commitment=REF, mask=REF, circuit=REF, due_at=TIME, coverage="sampled(2)",
    draw_sha256=hashlib.sha256(SECRET).hexdigest(),
)  # fmt: skip
FULL = SAMPLED.model_copy(update={"coverage": "full", "draw_sha256": None})
CLAIM = p.Claim(
    order=REF, client=UUID, attempt=1, weights_sha256=SHA, weights_root=SHA, solution_sha256=SHA, solution_root=SHA,
    other_tensors_sha256=SHA,
)  # fmt: skip
AGAIN = CLAIM.model_copy(update={"attempt": 2})
DRAWN = p.Challenge(claim=REF, checkpoint="note", draw_secret=SECRET.hex())
PLAIN = DRAWN.model_copy(update={"draw_secret": None})
VERDICT = p.Verdict(
    proof=REF, claim=REF, bundle_sha256=SHA, result="accepted", proved_chunks=2, untouched_chunks=1,
    touched_chunks=8, coverage="sampled(2)", detection="0.25",
    caught=[Caught(chance="0.95", chunks=6), Caught(chance="0.99", chunks=7)], srs_provenance="ceremony",
)  # fmt: skip
WHOLE = VERDICT.model_copy(update={"coverage": "full", "detection": "1", "proved_chunks": 8, "caught": []})


def test_what_is_as_it_must_be() -> None:
    for order in (SAMPLED, FULL):
        coverage_rules.check_order(order, 3)
    coverage_rules.check_challenge(DRAWN, CLAIM, SAMPLED, 5)
    coverage_rules.check_challenge(PLAIN, CLAIM, FULL, 5)
    coverage_rules.check_challenge(PLAIN, AGAIN, SAMPLED, 5)
    coverage_rules.check_verdict(VERDICT, CLAIM, SAMPLED, 7)
    coverage_rules.check_verdict(WHOLE, CLAIM, FULL, 7)
    coverage_rules.check_verdict(WHOLE, AGAIN, SAMPLED, 7)


def test_verdicts_from_before_there_were_samples_still_hold() -> None:
    old = WHOLE.model_copy(update={"touched_chunks": None})
    coverage_rules.check_verdict(old, CLAIM, FULL, 7)


@pytest.mark.parametrize("changes", [{"draw_sha256": None}, {"coverage": "full"}])
def test_the_provider_is_bound_before_the_claim_or_not_at_all(changes: dict) -> None:
    with pytest.raises(RuleError, match="drawSha256"):
        coverage_rules.check_order(SAMPLED.model_copy(update=changes), 3)


def test_a_secret_chosen_afterwards() -> None:
    chosen = DRAWN.model_copy(update={"draw_secret": "00" * 32})
    with pytest.raises(RuleError, match="is not the one that order 7 was bound to"):
        coverage_rules.check_challenge(chosen, CLAIM, SAMPLED, 5)


def test_a_secret_withheld() -> None:
    with pytest.raises(RuleError, match="lacks the drawSecret"):
        coverage_rules.check_challenge(PLAIN, CLAIM, SAMPLED, 5)


def test_no_second_draw_after_a_rejection() -> None:
    with pytest.raises(RuleError, match="every touched chunk must be proved"):
        coverage_rules.check_challenge(DRAWN, AGAIN, SAMPLED, 5)
    with pytest.raises(RuleError, match=r"sampled\(2\) coverage, but attempt 2 is held to full"):
        coverage_rules.check_verdict(VERDICT, AGAIN, SAMPLED, 7)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"coverage": "full"}, "held to sampled"),
        ({"detection": "1"}, "detection is 1, expected 0.25"),
        ({"detection": "0.26"}, "detection"),
        ({"proved_chunks": 1}, "provedChunks is 1, expected 2"),
        ({"touched_chunks": 4}, "detection is 0.25, expected 0.5"),
        ({"touched_chunks": None}, "does not say of how many"),
        ({"caught": []}, "caught"),
        ({"caught": [Caught(chance="0.95", chunks=5), Caught(chance="0.99", chunks=7)]}, "caught"),
    ],
)
def test_a_verdict_that_claims_too_much(changes: dict, match: str) -> None:
    with pytest.raises(RuleError, match=match):
        coverage_rules.check_verdict(VERDICT.model_copy(update=changes), CLAIM, SAMPLED, 7)


def test_a_verdict_on_fewer_proofs_than_full_coverage_asks_for() -> None:
    with pytest.raises(RuleError, match="provedChunks is 2, expected 8"):
        coverage_rules.check_verdict(WHOLE.model_copy(update={"proved_chunks": 2}), CLAIM, FULL, 7)
