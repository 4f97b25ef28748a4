"""Crafted witnesses: a client that commits to something else than the prescribed solution, and proves it as well
as the circuits allow.
"""

import dataclasses
import itertools
import json
from dataclasses import replace

import ezkl
import numpy as np
import pytest

from prover_worker import prove
from prover_worker.bundle import ProofBundle
from prover_worker.commitments import ChunkSecrets
from prover_worker.errors import ProvingFailed
from prover_worker.field import R, encode
from tests.prover_worker.crafted import OTHER_DIGITS, OTHER_X, RELATION, mount, nudge, shifted, skipped
from tests.prover_worker.story import (
    BACKEND,
    Client,
    P,
    chunk_mask,
    failures,
    make_claim,
    residual,
    scalar,
    solve,
)


@pytest.mark.parametrize("step", [1, -1])
def test_one_weight_off_by_one_grid_step(alone, step):
    new = alone.solutions[0].weights.copy()
    new[3, 4] += step
    assert mount(alone, replace(alone.solutions[0], weights=new)) == {0: RELATION}


def test_one_masked_weight_kept_or_off_zero_by_one_grid_step(alone):
    place = tuple(np.argwhere(chunk_mask(alone.client, alone.mask, 0))[0])
    for value in (1, alone.client.secrets[0].weights[place]):
        new = alone.solutions[0].weights.copy()
        new[place] = value
        assert mount(alone, replace(alone.solutions[0], weights=new)) == {0: RELATION}


def test_skipped_compensation_with_a_lying_residual(alone):
    solution = skipped(alone.client, alone.mask, 0, alone.solutions[0])
    for lie in (np.zeros_like(solution.e), np.clip(solution.e, -1000, 1000), alone.solutions[0].e):
        assert mount(alone, replace(solution, e=lie)) == {0: RELATION}


def test_skipped_compensation_with_the_true_residual_and_a_range_proof_of_other_digits(claim):
    solution = skipped(claim.client, claim.mask, 0, claim.solutions[0])
    assert np.abs(solution.e).max() > claim.client.release.predicate.table_end
    with pytest.raises(ProvingFailed, match="chunk 0: a digit of v or e is"):
        mount(claim, solution)
    tame = {**claim.solutions, 0: replace(solution, e=np.zeros_like(solution.e))}
    assert mount(claim, solution, ranges=tame) == dict.fromkeys((0, 2), OTHER_DIGITS)


def test_skipped_compensation_hidden_in_v_so_that_the_residual_is_small(alone):
    """v absorbs what f should have done: the residual is in range and the second scalar zero, but f is not vĜ."""
    secret, solution = alone.client.secrets[0], skipped(alone.client, alone.mask, 0, alone.solutions[0])
    v = np.rint(solution.e / P.damping).astype(np.int64)
    assert mount(alone, replace(solution, v=v, e=residual(secret, solution.weights, v))) == {0: RELATION}


def test_over_compensation_beyond_the_tolerance(claim):
    solution = shifted(claim, 100)
    assert np.abs(solution.e).max() > claim.client.release.predicate.table_end
    tame = {**claim.solutions, 0: replace(solution, e=np.zeros_like(solution.e))}
    assert mount(claim, solution, ranges=tame) == dict.fromkeys((0, 2), OTHER_DIGITS)


def test_within_the_tolerance_the_answer_is_nearly_unique(alone):
    """What the residual's range leaves open: one step of v, and no weight further away than |Δe| / √d."""
    honest, end = alone.solutions[0], alone.client.release.predicate.table_end
    steps = (np.eye(4, dtype=np.int64)[n] * sign * (np.arange(16) == b)[:, None]
             for b, n, sign in itertools.product(range(16), range(4), (1, -1)))  # fmt: skip
    solution = next(s for s in (shifted(alone, step) for step in steps) if np.abs(s.e).max() <= end)
    assert mount(alone, solution) == {}
    moved = np.linalg.norm(solution.weights - honest.weights)
    assert 0 < moved <= np.linalg.norm(solution.e - honest.e) / np.sqrt(P.damping)


def test_f_that_is_not_v_times_the_factors(alone):
    """f changed under the mask, where w' does not show it, and outside, where w' follows it."""
    masked = chunk_mask(alone.client, alone.mask, 0)
    honest = alone.solutions[0]
    hidden = honest.f.copy()
    hidden[tuple(np.argwhere(masked)[0])] += 1
    assert mount(alone, replace(honest, f=hidden)) == {0: RELATION}
    shown = honest.f.copy()
    shown[tuple(np.argwhere(~masked)[0])] += 1
    new = np.where(masked, 0, alone.client.secrets[0].weights - shown)
    e = residual(alone.client.secrets[0], new, honest.v)
    assert np.abs(e).max() <= 2031
    assert mount(alone, replace(honest, weights=new, f=shown, e=e)) == {0: RELATION}


# Commitments


@dataclasses.dataclass(frozen=True)
class TwoFaced(ChunkSecrets):
    """A_n from `factors`, B_i from `others`."""

    others: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def position_columns(self, salt_rows, directions=0):
        return replace(self, factors=self.others, others=self.others).straight(salt_rows, directions)

    def straight(self, salt_rows, directions):
        return super().position_columns(salt_rows, directions)


@pytest.mark.parametrize("solved_for", ["A", "B"])
def test_rows_and_positions_that_hold_different_factors(client, mask, solved_for):
    """One curvature for f = vĜ and another for the residual."""
    own = client.secrets[0]
    others = own.factors.copy()
    others[2, 1, 3] += 1
    faced = TwoFaced(own.chunk, own.weights, own.factors, own.seed, others)
    one = own if solved_for == "A" else replace(own, factors=others)
    solution = solve(Client(client.release, {**client.secrets, 0: one}), mask)[0]
    if solved_for == "B":  # f and the first scalar follow B; the residual is that of A
        solution = replace(solution, e=residual(own, solution.weights, solution.v))
    cheat = Client(client.release, {**client.secrets, 0: faced})
    crafted = make_claim(cheat, mask, {**solve(client, mask), 0: solution})
    witness = prove.ChunkWitness(faced, solution, crafted.rows[0])
    assert scalar(prove.relation_columns(cheat.layout, witness, crafted.challenge, 2048)) != 0
    tame = replace(solution, e=np.clip(solution.e, -2048, 2031))
    found = failures(crafted.case(crafted.prove(ranges={**crafted.solutions, 0: tame})))
    assert found[0].startswith(RELATION)


# Outputs, the mask, the challenge


def false_claim(alone):
    """A claim with one weight nudged, its proofs, and the true columns of its relation circuit."""
    nudged = nudge(alone.solutions[0], chunk_mask(alone.client, alone.mask, 0))
    crafted = make_claim(alone.client, alone.mask, {**alone.solutions, 0: nudged})
    witness = prove.ChunkWitness(alone.client.secrets[0], nudged, alone.rows[0])
    columns = prove.relation_columns(alone.client.layout, witness, crafted.challenge, 2048)
    return crafted, crafted.prove(), columns


def prove_with_output(files, columns, output, folder):
    """A proof whose witness file says that this is what comes out; and what ezkl itself says."""
    inputs, filled, made = (folder / name for name in ("input", "witness", "proof"))
    inputs.write_text(json.dumps({"input_data": [encode(column) for column in columns]}))
    ezkl.gen_witness(str(inputs), str(files.compiled), str(filled), str(files.vk), str(files.srs))
    document = json.loads(filled.read_text())
    filled.write_text(json.dumps(document | {"outputs": [encode([output])]}))
    proof = ezkl.prove(str(filled), str(files.compiled), str(files.pk), str(made), str(files.srs))["proof"]
    return bytes.fromhex(proof.removeprefix("0x")), document["outputs"]


def test_a_proof_whose_public_output_is_not_zero(alone, opened, tmp_path):
    """The proof is sound, for outputs that say the claim is false."""
    crafted, proofs, columns = false_claim(alone)
    output, files = scalar(columns), opened.relation
    assert output
    proof, said = prove_with_output(files, columns, output, tmp_path)
    assert said == [encode([output])]
    document = tmp_path / "document"
    document.write_text(json.dumps({"instances": [encode([output])], "proof": list(proof)}))
    assert ezkl.verify(str(document), str(files.settings), str(files.vk), str(files.srs))
    assert failures(crafted.case(replace(proofs, relations={0: proof}))) == {0: RELATION}


def test_zeros_written_over_the_outputs_of_a_false_witness(alone, opened, tmp_path):
    """ezkl proves what the witness file says; the constraints do not let it say zero, in whosever file."""
    crafted, proofs, columns = false_claim(alone)
    proof, said = prove_with_output(opened.relation, columns, 0, tmp_path)
    assert said != [encode([0])]
    assert failures(crafted.case(replace(proofs, relations={0: proof}))) == {0: RELATION}
    assert failures(crafted.case(proofs)) == {0: RELATION}


def test_a_masked_weight_kept(alone, client):
    """The prescribed solution of a mask that spares one weight, proved with the true mask or with that one."""
    spared = int(np.flatnonzero(alone.mask)[0])
    milder = alone.mask.copy()
    milder[spared] = False
    crafted = make_claim(client, alone.mask, solve(client, milder))
    assert crafted.solutions[0].weights.ravel()[spared] != 0
    proofs = crafted.prove()
    assert failures(crafted.case(proofs)) == {0: RELATION}
    false_rows = crafted.prove_chunk(0, rows=client.layout.masked_rows(np.flatnonzero(milder))[0])
    assert BACKEND.verify("relation", client.release.relation, false_rows)
    case = crafted.case(replace(proofs, relations={**proofs.relations, 0: false_rows}))
    assert failures(case) == {0: "the proof commits to another tau_kept than the log does"}


def test_points_chosen_to_suit_a_known_challenge(alone):
    """Why the points are logged before the challenge: whoever knows it can choose an f that hides a false w'.

    Under the stale challenge such a claim verifies. Under the one that its own leaf draws it does not.
    """
    client, drawn = alone.client, alone.challenge
    solution = skipped(client, alone.mask, 0, alone.solutions[0])
    v = np.rint(solution.e / P.damping).astype(np.int64)
    solution = replace(solution, v=v, e=residual(client.secrets[0], solution.weights, v))
    witness = prove.ChunkWitness(client.secrets[0], solution, alone.rows[0])
    off = scalar(prove.relation_columns(client.layout, witness, drawn, 2048))
    assert off != 0
    row = alone.rows[0][0]
    f = solution.f.astype(object)
    f.ravel()[row] = -off * pow(drawn.beta * drawn.tau()[row], -1, R) % R
    crafted = make_claim(client, alone.mask, {**alone.solutions, 0: replace(solution, f=f)})

    stale = {c: crafted.prove_chunk(c, challenge=drawn) for c in (0,)}
    ranges = {0: crafted.prove_group()}
    case = crafted.case(ProofBundle(stale, ranges), checkpoint=alone.checkpoint, claim_leaf=alone.leaf)
    assert failures(case) == {}
    assert failures(crafted.case(ProofBundle(stale, ranges))) == {0: OTHER_X}
    assert failures(crafted.case(crafted.prove())) == {0: RELATION}
