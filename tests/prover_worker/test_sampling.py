"""Sampled coverage: who draws, that no chunk is favoured, and what a cheat risks.

Chunks 0 and 2 of the story's claims are touched; `sampled(1)` draws one of them. Secrets are searched for here
until the draw falls as a test needs it: that is what a provider must not be able to do, and why orders bind it.
"""

import hashlib
import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from ledger.statements.coverage import chance
from ledger.statements.predicates import Challenge, Order
from ledger.statements.predicates.base import LogRef
from ledger.tlog.checkpoint import Checkpoint
from prover_worker.bundle import ProofBundle, format_bundle
from prover_worker.challenge import EVERYTHING, Draw, derive, sample
from prover_worker.drawing import checked_draw
from prover_worker.errors import AgentError, ProverError
from prover_worker.verify import verify_claim
from tests.fakes import FakeLedger
from tests.prover_worker.crafted import RELATION
from tests.prover_worker.story import BACKEND, P, failures, make_claim, solve

VECTORS = Path(__file__).parent / "testdata" / "draw.json"
HEAD = Checkpoint("tests/ledger", 9, b"\1" * 32)
LEAF = b"\2" * 32
SECRET = b"s" * 32


def drawn_by(number, chunks, size, leaf=LEAF):
    secret = hashlib.sha256(b"secret" + number.to_bytes(8, "big")).digest()
    return derive(P, HEAD, 4, leaf, Draw(f"sampled({size})", secret)).drawn(chunks)


# The draw


def test_field_elements_are_those_of_full_coverage():
    full, sampled = derive(P, HEAD, 4, LEAF), derive(P, HEAD, 4, LEAF, Draw("sampled(3)", SECRET))
    assert full.coefficients() == sampled.coefficients()
    assert full.sigma == sampled.sigma
    assert full.drawn([1, 5, 9]) == [1, 5, 9]


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text()), ids=lambda case: f"{case['size']}")
def test_vectors(case):
    challenge = derive(P, HEAD, 4, LEAF)
    seeded = hashlib.sha256(b"unlearning-ledger/draw/v1\0" + bytes.fromhex(case["seed"] + case["secret"])).digest()
    challenge = replace(challenge, draw=Draw(f"sampled({case['size']})", SECRET), draw_seed=seeded)
    assert challenge.drawn(case["chunks"]) == case["drawn"]


def test_the_draw_hangs_on_the_challenge_and_the_secret():
    chunks = list(range(1000))
    first = drawn_by(0, chunks, 10)
    assert len(set(first)) == 10
    assert first == sorted(first)
    assert drawn_by(0, chunks, 10) == first
    assert drawn_by(1, chunks, 10) != first
    assert drawn_by(0, chunks, 10, b"\3" * 32) != first


def test_more_than_there_is_is_everything():
    assert drawn_by(0, [3, 4], 5) == [3, 4]


def test_words_that_would_favour_a_chunk_are_skipped():
    largest = 2**256 - 1  # 2^256 is no multiple of 3: this word lies above the largest one
    assert sample([7, 8, 9], 1, iter([largest, 4])) == [8]
    assert sample([7, 8], 1, iter([largest])) == [8]  # of 2 it is


def test_every_sample_is_equally_likely():
    """All 20 samples of 3 in 6 chunks over 4,000 draws: chi-square with 19 degrees below its 1e-6 quantile."""
    seen = dict[tuple[int, ...], int]()
    for number in range(4000):
        chunks = tuple(drawn_by(number, range(6), 3))
        seen[chunks] = seen.get(chunks, 0) + 1
    assert len(seen) == 20
    assert sum((n - 200) ** 2 / 200 for n in seen.values()) < 62.2


@pytest.mark.parametrize(("touched", "size", "dishonest"), [(40, 5, 1), (40, 5, 8), (40, 10, 10)])
def test_a_cheat_is_caught_as_often_as_verdicts_say(touched, size, dishonest):
    """Within five standard deviations over 2,000 draws."""
    wanted, runs = float(chance(touched, size, dishonest)), 2000
    caught = sum(min(drawn_by(number, range(touched), size)) < dishonest for number in range(runs))
    assert abs(caught - runs * wanted) < 5 * (runs * wanted * (1 - wanted)) ** 0.5


def test_a_client_cannot_choose_among_claims():
    """It may foresee the checkpoint, and so the seed: without the secret, a claim that seems to spare its chunk
    does so no more often than any other.
    """
    guess, truth = hashlib.sha256(b"a client's guess").digest(), SECRET
    spared = total = 0
    for number in range(2000):
        leaf = hashlib.sha256(number.to_bytes(8, "big")).digest()  # one claim of many that it prepares
        if derive(P, HEAD, 4, leaf, Draw("sampled(5)", guess)).drawn(range(10))[0] == 0:
            continue  # by its reckoning chunk 0 would have to be proved
        total += 1
        spared += derive(P, HEAD, 4, leaf, Draw("sampled(5)", truth)).drawn(range(10))[0] != 0
    assert abs(spared - total / 2) < 5 * (total / 4) ** 0.5


def test_no_draw_without_a_secret():
    with pytest.raises(ProverError, match="drawn with a secret of 32 bytes, got 0"):
        derive(P, HEAD, 4, LEAF, Draw("sampled(1)"))


# What the verifier takes


def falls_on(claim, chunk):
    """A draw of one chunk that falls on `chunk`."""
    for number in count():
        draw = Draw("sampled(1)", number.to_bytes(32, "big"))
        if derive(P, claim.checkpoint, 3, claim.leaf, draw).drawn([0, 2]) == [chunk]:
            return draw
    raise AssertionError


@pytest.fixture(scope="module")
def cheating(client, mask):
    """A claim that is honest in chunk 0 and shifts one weight of chunk 2."""
    solutions = solve(client, mask)
    free = next(at for at in np.ndindex(P.blocks, P.block_size) if solutions[2].weights[at])
    weights = solutions[2].weights.copy()
    weights[free] += 1
    return make_claim(client, mask, {**solutions, 2: replace(solutions[2], weights=weights)})


@pytest.fixture(scope="module")
def spared(cheating):
    """Its proof of chunk 0 alone."""
    return ProofBundle({0: cheating.prove_chunk(0)}, {0: cheating.prove_group({0: cheating.solutions[0]})})


def test_a_cheat_in_a_chunk_that_is_not_drawn_passes_and_in_one_that_is_drawn_does_not(cheating, spared):
    outcome = verify_claim(cheating.case(spared, draw=falls_on(cheating, 0)), BACKEND)
    assert outcome.accepted  # with the chance that the verdict states: 1 in 2
    assert (outcome.proved, outcome.touched, outcome.untouched) == (1, 2, 1)
    caught = ProofBundle({2: cheating.prove_chunk(2)}, {0: cheating.prove_group({2: cheating.solutions[2]})})
    assert failures(cheating.case(caught, draw=falls_on(cheating, 2))) == {2: RELATION}


def test_proofs_of_another_chunk_than_was_drawn(cheating, spared):
    found = failures(cheating.case(spared, draw=falls_on(cheating, 2)))
    assert found == {None: "the bundle holds proof 0, which nothing asks for"}


def test_the_proof_of_another_chunk_under_the_drawn_ones_number(cheating, spared):
    renamed = ProofBundle({2: spared.relations[0]}, spared.ranges)
    found = failures(cheating.case(renamed, draw=falls_on(cheating, 2)))
    assert list(found) == [2]
    assert "the proof commits to another" in found[2]
    assert "the range proof commits to other digits" in found[2]


def test_fewer_proofs_than_were_drawn(cheating):
    found = failures(cheating.case(ProofBundle({}, {}), draw=falls_on(cheating, 0)))
    assert list(found) == [0]
    assert "no proof was given for this chunk" in found[0]


def test_a_sample_is_not_enough_where_everything_is_asked_for(cheating, spared):
    found = failures(cheating.case(spared, draw=EVERYTHING))
    assert found[2].startswith("no proof was given for this chunk")


def test_all_proofs_are_too_many_for_a_sample(claim, bundle):
    assert failures(claim.case(bundle, draw=falls_on(claim, 0))) == {
        None: "the bundle holds proof 2, which nothing asks for"
    }


def test_a_chunk_that_is_not_touched_must_stay_whatever_was_drawn(cheating, spared):
    case = cheating.case(spared, draw=falls_on(cheating, 0))
    points = [case.claim_weights[i : i + 32] for i in range(0, 96, 32)]
    changed = replace(case, claim_weights=points[0] + points[0] + points[2], bundle=format_bundle(spared))
    assert failures(changed)[1] == "its weights changed although none of them is masked"


# What the client believes

OURS = "00000000-0000-4000-8000-000000000000"
AT = LogRef(index=1, leaf_hash="11" * 32)


def told(secret=SECRET, coverage="sampled(2)"):
    """A ledger that has ordered and challenged; references to both."""
    ledger, bound = FakeLedger(), hashlib.sha256(SECRET).hexdigest()
    order = Order(
        order=OURS, window=OURS, client=OURS, commitment=AT, mask=AT, circuit=AT, due_at="2026-01-31T12:00:00Z",
        coverage=coverage, draw_sha256=None if coverage == "full" else bound,
    )  # fmt: skip
    challenge = Challenge(claim=AT, checkpoint="note", draw_secret=secret.hex() if secret else None)
    return ledger, ledger.log(7, order), ledger.log(9, challenge)


def test_a_client_proves_what_was_drawn():
    ledger, order, challenge = told()
    assert checked_draw(ledger, order, 1, challenge) == Draw("sampled(2)", SECRET)


def test_a_client_proves_everything_after_a_rejection():
    ledger, order, challenge = told()
    assert checked_draw(ledger, order, 2, challenge) is EVERYTHING


def test_a_client_proves_everything_at_full_coverage():
    ledger, order, challenge = told(secret=None, coverage="full")
    assert checked_draw(ledger, order, 1, challenge) is EVERYTHING


@pytest.mark.parametrize("secret", [b"t" * 32, None])
def test_a_provider_that_chooses_after_the_claim(secret):
    ledger, order, challenge = told(secret)
    with pytest.raises(AgentError, match="the provider has chosen which chunks to ask for"):
        checked_draw(ledger, order, 1, challenge)
