"""Attacks on a claim, each mounted for real, each refused with a reason that names it.

Chunks 0 and 2 are touched and share one range proof; chunk 1 is not touched. A crafted claim is logged like any
other: its challenge follows from its own points, unless a test says otherwise.
"""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from ledger.statements.predicates.circuit_release import ROLES
from ledger.tlog.checkpoint import Checkpoint
from prover_worker import challenge, prove, release
from prover_worker.bundle import ProofBundle
from prover_worker.curve import format_point
from prover_worker.errors import CircuitError
from prover_worker.field import expand
from prover_worker.layout import Layout
from prover_worker.verify import verify_claim
from tests.prover_worker.crafted import OTHER_DIGITS, OTHER_X, RELATION
from tests.prover_worker.story import (
    BACKEND,
    Client,
    P,
    failures,
    make_claim,
    make_client,
    make_mask,
    mask_file,
    solve,
)

# The honest claim, for comparison


def test_the_honest_claim_is_accepted(claim, bundle):
    outcome = verify_claim(claim.case(bundle), BACKEND)
    assert outcome.accepted
    assert outcome.failures == {}
    assert (outcome.proved, outcome.untouched) == (2, 1)
    assert outcome.seconds > 0


def test_progress_counts_every_proof(claim, bundle):
    seen = []
    verify_claim(claim.case(bundle), BACKEND, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


# Proof bytes


def test_tampered_proof_bytes_anywhere(claim, bundle):
    proof = bundle.relations[0]
    columns = 9 * 64
    for position in (0, 63, 64, 5 * 64, columns - 1, columns, columns + 1000, len(proof) - 64, len(proof) - 1):
        forged = proof[:position] + bytes([proof[position] ^ 1]) + proof[position + 1 :]
        found = failures(claim.case(replace(bundle, relations={**bundle.relations, 0: forged})))
        assert list(found) == [0]
        assert ("the proof commits to another" in found[0]) == (position < columns)
        assert (found[0] == RELATION) == (position >= columns)


def test_every_32nd_byte_of_every_proof_matters(opened, bundle):
    for kind, proof in (("relation", bundle.relations[0]), ("range", bundle.ranges[0])):
        files = getattr(opened, kind)
        assert BACKEND.verify(kind, files, proof)
        for position in range(7, len(proof), 32):
            forged = proof[:position] + bytes([proof[position] ^ 0x10]) + proof[position + 1 :]
            assert not BACKEND.verify(kind, files, forged), f"byte {position} of the {kind} proof"


def test_cut_and_extended_proofs(claim, bundle):
    proof = bundle.relations[0]
    for forged in (proof[:-1], proof[:600], proof + b"\0", proof + proof):
        assert failures(claim.case(replace(bundle, relations={**bundle.relations, 0: forged}))) == {0: RELATION}
    short = replace(bundle, relations={**bundle.relations, 0: proof[:500]})
    assert failures(claim.case(short)) == {0: "got a proof of 500 bytes; its 9 commitments alone need more"}
    for forged in (bundle.ranges[0] + b"\0", bundle.ranges[0][:-1]):
        found = failures(claim.case(replace(bundle, ranges={0: forged})))
        assert set(found) == {0, 2}
        assert "range proof does not hold" in found[0]


def test_a_tampered_range_proof_fails_its_whole_group(claim, bundle):
    proof = bundle.ranges[0]
    forged = proof[:-5] + bytes([proof[-5] ^ 1]) + proof[-4:]
    found = failures(claim.case(replace(bundle, ranges={0: forged})))
    assert found == dict.fromkeys((0, 2), "the range proof does not hold: v or e is out of range")


# Proofs of something else


def test_the_proof_of_another_chunk(claim, bundle):
    swapped = replace(bundle, relations={0: bundle.relations[2], 2: bundle.relations[2]})
    assert failures(claim.case(swapped)) == {0: OTHER_X}


@pytest.mark.parametrize("field", ["origin", "size", "root", "index", "leaf"])
def test_a_proof_for_another_challenge(claim, bundle, field):
    """Another log, checkpoint or claim: each gives other random elements, so other combinations."""
    head = claim.checkpoint
    changed = {
        "origin": {"checkpoint": replace(head, origin="tests/other")},
        "size": {"checkpoint": replace(head, size=6)},
        "root": {"checkpoint": replace(head, root=bytes(32))},
        "index": {"claim_index": 4},
        "leaf": {"claim_leaf": bytes(32)},
    }[field]
    found = failures(claim.case(bundle, **changed))
    assert found[0] == found[2] == f"{OTHER_X}"


def test_a_checkpoint_that_does_not_cover_the_claim(claim, bundle):
    found = failures(claim.case(bundle, checkpoint=Checkpoint("tests/ledger", 3, bytes(32))))
    assert list(found) == [None]
    assert "does not cover the claim at index 3" in found[None]


def test_a_linear_combination_computed_with_another_claims_challenge(claim, bundle):
    """The prover's own points, a challenge that is not theirs, public columns as they should be."""
    other = challenge.derive(P, claim.checkpoint, 2, claim.leaf)
    mixed = dataclasses.replace(claim.challenge, beta=other.beta, gamma=other.gamma)
    forged = claim.prove_chunk(0, challenge=mixed)
    assert failures(claim.case(replace(bundle, relations={**bundle.relations, 0: forged}))) == {0: OTHER_X}


def test_another_clients_commitments(claim, bundle, opened):
    other = make_client(opened, 2)
    changed_weights = claim.case(bundle, weights=b"".join(other.weights))
    found = failures(changed_weights)
    assert found[0] == found[2] == "the proof commits to another Y than the log does"
    assert found[1] == "its weights changed although none of them is masked"
    found = failures(claim.case(bundle, curvature=b"".join(other.curvature)))
    assert found == dict.fromkeys((0, 2), OTHER_X)


def test_another_clients_proof(claim, opened, mask):
    other = make_client(opened, 2)
    theirs = make_claim(other, mask, solve(other, mask))
    found = failures(claim.case(theirs.prove()))
    assert set(found) == {0, 2}
    assert OTHER_X in found[0]
    assert OTHER_DIGITS in found[0]


def test_a_proof_under_another_srs(claim, bundle, tmp_path):
    built = release.build(BACKEND, P, tmp_path / "release")
    foreign = release.Release.open(*built).with_keys(BACKEND, tmp_path / "keys")
    assert built[0].srs.sha256 != claim.client.release.predicate.srs.sha256

    forged = claim.prove_chunk(0, release=foreign)
    assert failures(claim.case(replace(bundle, relations={**bundle.relations, 0: forged}))) == {0: OTHER_X}

    # Everything under it, from the first commitment on: good there, worthless here.
    client = Client(foreign, claim.client.secrets)
    whole = make_claim(client, claim.mask, claim.solutions)
    proofs = whole.prove()
    assert failures(whole.case(proofs)) == {}
    found = failures(whole.case(proofs, release=claim.client.release))
    assert set(found) == {0, 2}
    assert OTHER_X in found[0]

    # Nor can the verifier be handed another SRS under the logged release.
    paths = {role: tmp_path / "release" / role for role in ROLES}
    with pytest.raises(CircuitError, match="srs has SHA-256"):
        release.Release.open(claim.client.release.predicate, claim.client.release.paths() | {"srs": paths["srs"]})


def test_a_proof_of_another_circuit_under_the_same_srs(claim, bundle, tmp_path):
    """A circuit whose T suits the client: the commitments are those of its claim, its verifying key is not."""
    other = P.model_copy(update={"table_columns": 1})
    built = release.build(BACKEND, other, tmp_path / "release", srs=claim.client.release.relation.srs)
    foreign = release.Release.open(*built).with_keys(BACKEND, tmp_path / "keys")
    crafted = make_claim(replace(claim.client, release=foreign), claim.mask, claim.solutions)
    proofs = {0: crafted.prove_chunk(0), 2: crafted.prove_chunk(2)}
    assert BACKEND.verify("relation", foreign.relation, proofs[0])
    found = failures(crafted.case(ProofBundle(proofs, bundle.ranges), release=claim.client.release))
    assert found[0].startswith(RELATION)


def test_a_proof_with_another_damping(claim, bundle):
    """The damping stands in J, which the verifier computes: one that suits the client is not the release's."""
    solution = claim.solutions[0]
    suited = replace(solution, e=solution.e - solution.v)
    crafted = make_claim(claim.client, claim.mask, {**claim.solutions, 0: suited})
    layout = Layout(P.model_copy(update={"damping": P.damping + 1}), claim.client.layout.total)
    witness = prove.ChunkWitness(claim.client.secrets[0], suited, crafted.rows[0])
    proof, _ = prove.prove_relation(BACKEND, claim.client.release, layout, witness, crafted.challenge)
    assert BACKEND.verify("relation", claim.client.release.relation, proof)
    found = failures(crafted.case(ProofBundle({0: proof, 2: crafted.prove_chunk(2)}, bundle.ranges)))
    assert found[0].startswith("the proof commits to another J than the log does")


# The mask


def test_a_mask_with_one_bit_flipped(claim, bundle):
    for position in (int(np.flatnonzero(claim.mask)[0]), int(np.flatnonzero(~claim.mask)[0])):
        flipped = claim.mask.copy()
        flipped[position] ^= True
        case = claim.case(bundle, mask=mask_file(flipped))
        assert failures(case) == {0: "the proof commits to another tau_kept than the log does"}


def test_a_mask_that_is_no_mask_or_for_another_model(claim, bundle):
    for wrong, reason in (
        (b"no mask", "the mask cannot be read"),
        (mask_file(claim.mask) + b"\0", "the mask cannot be read"),
        (
            mask_file(claim.mask).replace((736).to_bytes(8, "big"), (752).to_bytes(8, "big"), 1),
            "is for 752 weights",
        ),
    ):
        found = failures(claim.case(bundle, mask=wrong))
        assert list(found) == [None]
        assert reason in found[None]


# Points


@pytest.mark.parametrize("part", ["f", "digits", "weights"])
def test_points_replaced_after_the_challenge(claim, bundle, part):
    other = replace(claim.solutions[0], seed=b"another seed")
    late = make_claim(claim.client, claim.mask, {**claim.solutions, 0: other})
    f, digits = claim.records[0][:32], claim.records[0][32:]
    if part == "weights":
        case = claim.case(bundle, claim_weights=b"".join(late.weights))
    else:
        first = late.records[0][:32] + digits if part == "f" else f + late.records[0][32:]
        case = claim.case(bundle, solution=first + claim.records[2])
    found = failures(case)
    if part == "digits":
        assert found == {
            0: f"the proof commits to another Z than the log does; {OTHER_DIGITS}",
            2: OTHER_DIGITS,
        }
    else:
        assert found == {0: OTHER_X}


def test_points_that_are_no_points(claim, bundle):
    nonsense = b"\xff" * 32
    cases = [
        ({0}, claim.case(bundle, claim_weights=nonsense + b"".join(claim.weights[1:]))),
        ({0}, claim.case(bundle, weights=nonsense + b"".join(claim.client.weights[1:]))),
        ({0}, claim.case(bundle, curvature=nonsense + b"".join(claim.client.curvature)[32:])),
        ({0, 2}, claim.case(bundle, solution=nonsense + b"".join(claim.records.values())[32:])),
    ]
    for chunks, case in cases:
        found = failures(case)
        assert set(found) == chunks
        assert all("no compressed point" in reason for reason in found.values())


@pytest.mark.parametrize("name", ["weights", "curvature", "claim_weights", "solution"])
@pytest.mark.parametrize(
    "change", [lambda data: data[:-32], lambda data: data + data[:32], lambda data: data + b"\0"]
)
def test_point_files_of_another_length(claim, bundle, name, change):
    case = claim.case(bundle)
    found = failures(replace(case, **{name: change(getattr(case, name))}))
    what = {"weights": "committed weights", "claim_weights": "claimed weights"}.get(name, name)
    assert list(found) == [None]
    assert f"the {what} file has" in found[None]


# What is left out, or put in


def test_an_unproved_touched_chunk(claim, bundle):
    found = failures(claim.case(replace(bundle, relations={0: bundle.relations[0]})))
    assert found == {2: "no proof was given for this chunk"}


def test_a_missing_range_proof(claim, bundle):
    found = failures(claim.case(replace(bundle, ranges={})))
    assert found == dict.fromkeys((0, 2), "no range proof was given for this chunk's group")


def test_no_proofs_at_all(claim):
    found = failures(claim.case(ProofBundle({}, {})))
    assert set(found) == {0, 2}
    assert "no proof was given" in found[0]
    assert "no range proof" in found[0]


def test_extra_proofs(claim, bundle):
    extra = replace(bundle, relations={**bundle.relations, 1: bundle.relations[0]})
    assert failures(claim.case(extra)) == {None: "the bundle holds proof 1, which nothing asks for"}
    extra = replace(bundle, ranges={**bundle.ranges, 1: bundle.ranges[0]})
    assert failures(claim.case(extra)) == {None: "the bundle holds range proof 1, which nothing asks for"}


def test_a_bundle_that_is_none(claim, bundle):
    found = failures(replace(claim.case(bundle), bundle=b"nonsense"))
    assert list(found) == [None]
    assert "a proof bundle begins with" in found[None]


def test_a_chunk_that_claims_to_be_untouched_but_holds_masked_weights(claim, bundle):
    """Chunk 2 keeps its point. Without a solution, with one for show, and with a proof that nothing happened."""
    client = claim.client
    weights = [claim.weights[0], client.weights[1], client.weights[2]]
    dropped = claim.case(
        replace(bundle, relations={0: bundle.relations[0]}),
        claim_weights=b"".join(weights),
        solution=claim.records[0],
    )
    assert failures(dropped) == {None: "the solution file has 64 bytes; expected 2 records of 64"}

    secret, none = client.secrets[2], np.zeros_like(claim.solutions[2].v)
    idle = replace(
        claim.solutions[2], weights=secret.weights, f=0 * secret.weights, v=none, e=none, seed=secret.seed
    )
    crafted = make_claim(client, claim.mask, {**claim.solutions, 2: idle})
    crafted.weights[2] = client.weights[2]
    unproved = crafted.case(ProofBundle({0: crafted.prove_chunk(0)}, {0: crafted.prove_group()}))
    assert failures(unproved) == {2: "no proof was given for this chunk"}

    idle_proof = {0: crafted.prove_chunk(0), 2: crafted.prove_chunk(2, solution=SameSalt(**vars(idle)))}
    proved = crafted.case(ProofBundle(idle_proof, {0: crafted.prove_group()}))
    assert failures(proved) == {2: RELATION}


class SameSalt(prove.ChunkSolution):
    """A solution whose w' column is the committed w, salt and all."""

    def weight_column(self, salt_rows):
        return [*self.weights.ravel().tolist(), *expand(self.seed, f"w/{self.chunk}".encode(), salt_rows)]


def test_an_untouched_chunk_whose_point_changed(claim, bundle):
    weights = [claim.weights[0], claim.client.weights[0], claim.weights[2]]
    found = failures(claim.case(bundle, claim_weights=b"".join(weights)))
    assert found == {1: "its weights changed although none of them is masked"}


def test_a_tensor_that_is_no_target_changed(claim, bundle):
    found = failures(claim.case(bundle, claim_other_tensors="ab" * 32))
    assert found == {None: "a tensor outside the mask's targets changed"}
    found = failures(replace(claim.case(bundle, claim_other_tensors="ab" * 32), bundle=b""))
    assert "a tensor outside the mask's targets changed; a proof bundle begins" in found[None]


def test_verifying_under_an_srs_too_small_blames_the_verifier(claim, bundle, tmp_path):
    """A release that cannot work is no fault of the client: no verdict is given."""
    BACKEND.make_srs(tmp_path / "small", 6)
    files = replace(claim.client.release.relation, srs=tmp_path / "small")
    broken = replace(claim.client.release, relation=files)
    with pytest.raises(CircuitError, match=r"2\^6 rows"):
        verify_claim(claim.case(bundle, release=broken), BACKEND)


# Claims without work


def test_an_empty_mask_needs_no_proof_and_allows_no_change(client):
    mask = np.zeros_like(make_mask())
    claim = make_claim(client, mask, {})
    assert failures(claim.case(ProofBundle({}, {}))) == {}
    changed = [format_point(client.basis.points[0]), *client.weights[1:]]
    found = failures(claim.case(ProofBundle({}, {}), claim_weights=b"".join(changed)))
    assert found == {0: "its weights changed although none of them is masked"}
