"""Public forget directions in the proved statement: an honest client passes, everyone who bends them is named."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from prover_worker import directing, release
from prover_worker.bundle import ProofBundle
from prover_worker.commitments import ChunkSecrets, ChunkSolution
from prover_worker.errors import ProverError, ProvingFailed
from prover_worker.verify import Verifier
from tests.prover_worker.crafted import OTHER_DIGITS, OTHER_X, RELATION
from tests.prover_worker.story import (
    BACKEND,
    P,
    chunk_mask,
    failures,
    make_claim,
    make_client,
    make_mask,
    mask_file,
)
from unlearning import directions as publishing
from unlearning import lattice
from unlearning.obs import Directions

Q = P.model_copy(update={"directions": 2})

OTHER_PUSH = "the proof commits to another Z than the log does"


class Steered:
    """A client whose order has forget directions; only chunk 0 is masked, so two proofs show a claim."""

    def __init__(self, opened):
        self.client, self.mask = make_client(opened, 5), make_mask(3)
        self.mask[256:] = False
        self.secret, self.masked = self.client.secrets[0], chunk_mask(self.client, self.mask, 0)
        self.file = self.published(0)

    def published(self, seed, share=0.5, softness=Q.damping, square=1000):
        """Random directions, as a provider writes them."""
        mask = torch.from_numpy(self.mask.reshape(-1, Q.block_size))
        rows = torch.randn(len(mask), 2, Q.block_size, generator=torch.Generator().manual_seed(seed))
        weights = np.concatenate([one.weights for one in self.client.secrets.values()])[: len(mask)]
        made = publishing.published(
            rows, torch.from_numpy(weights), mask, 15, softness, share, proportional=True, square=square
        )
        return publishing.format_directions(made, mask, mask_file(self.mask))

    def chunk(self, file):
        return directing.read(file, mask_file(self.mask), self.client.layout)[0]

    def answer(self, part):
        """What the operator prescribes for a chunk's directions and push."""
        weights, factors, masked = (
            torch.from_numpy(a) for a in (self.secret.weights, self.secret.factors, self.masked)
        )
        wanted = Directions(torch.from_numpy(part.rows), torch.from_numpy(part.push), Q.damping)
        made = [one.numpy() for one in lattice.solve_directed(weights, factors, masked, Q.damping, wanted)]
        v, e = np.concatenate([made[1], made[4]], 1), np.concatenate([made[3], made[5]], 1)
        return ChunkSolution(0, made[0], made[2], v, e, hashlib.sha256(b"fresh").digest())

    def honest_about(self, part, solution):
        """The solution with the residuals that are true for these directions, whatever their size."""
        rows = np.concatenate([self.secret.factors, part.rows], 1)
        e = np.einsum("bri,bi->br", rows, solution.weights - self.secret.weights) - Q.damping * solution.v
        e[:, Q.rank :] -= part.push
        return replace(solution, e=e)

    def reason(self, solution, shown=None, secrets=None, client=None):
        """Why the relation proof of a claim fails that was made with `shown` instead of the logged directions."""
        claim = make_claim(client or self.client, self.mask, {0: solution})
        proof = claim.prove_chunk(0, directions=shown or self.chunk(self.file), secrets=secrets or self.secret)
        case = claim.case(ProofBundle({0: proof}, {}), directions=self.file)
        return Verifier(case, BACKEND).check_relation(0)


@pytest.fixture(scope="module")
def steered(tmp_path_factory, built):
    made = release.build(BACKEND, Q, tmp_path_factory.mktemp("directed"), srs=built[1]["srs"])
    return Steered(release.Release.open(*made).with_keys(BACKEND, tmp_path_factory.mktemp("steered-keys")))


@pytest.fixture(scope="module")
def honest(steered):
    """The honest claim and its proofs."""
    part = steered.chunk(steered.file)
    claim = make_claim(steered.client, steered.mask, {0: steered.answer(part)})
    return claim, claim.prove(directions=part)


def test_an_honest_answer_goes_along_the_directions_and_is_accepted(steered, honest):
    claim, bundle = honest
    assert failures(claim.case(bundle, directions=steered.file)) == {}
    part = steered.chunk(steered.file)
    none = replace(part, rows=np.zeros_like(part.rows), push=np.zeros_like(part.push))
    gaps = []
    for solution in (claim.solutions[0], steered.answer(none)):
        moved = np.einsum("bqi,bi->bq", part.rows, solution.weights - steered.secret.weights)
        gaps.append(float(np.abs(moved - part.push)[part.push > 0].mean()))
    assert gaps[0] < 0.5 * gaps[1]  # steered against plain: most of the push was gone along


def test_directions_exchanged_after_the_claim_are_seen(steered, honest):
    claim, bundle = honest
    for file in (steered.published(1), None):
        assert failures(claim.case(bundle, directions=file)) == {0: OTHER_X}
    for share in (0.0, 0.4):  # the same rows under another push
        assert failures(claim.case(bundle, directions=steered.published(0, share))) == {0: OTHER_PUSH}


def test_a_client_that_ignores_the_directions_has_no_residual_to_show(steered):
    """Its true residual holds the whole push; a tame one is a lie that the relation does not hold for."""
    part = steered.chunk(steered.file)
    plain = steered.answer(replace(part, rows=np.zeros_like(part.rows), push=np.zeros_like(part.push)))
    assert not plain.v[:, Q.rank :].any()
    true = steered.honest_about(part, plain)
    assert steered.reason(true) is None  # the relation alone would not notice: the range proof has to
    claim = make_claim(steered.client, steered.mask, {0: true})
    with pytest.raises(ProvingFailed, match="outside the range"):
        claim.prove_group()
    tame = claim.prove_group({0: plain})
    case = claim.case(ProofBundle({}, {0: tame}), directions=steered.file)
    assert Verifier(case, BACKEND).check_range(0) == OTHER_DIGITS
    assert steered.reason(plain) == RELATION


def test_other_directions_and_another_push_than_the_logged_ones_fail(steered):
    part = steered.chunk(steered.file)
    other = steered.chunk(steered.published(1))
    softer = replace(part, push=part.push // 2)
    assert steered.reason(steered.answer(other), shown=other) == OTHER_X
    assert steered.reason(steered.answer(other)) == RELATION
    assert steered.reason(steered.answer(softer), shown=softer) == OTHER_PUSH
    assert steered.reason(steered.answer(softer)) == RELATION


@dataclass(frozen=True)
class Cancelling(ChunkSecrets):
    """Commits, where its columns B_i should be zero, to what takes the directions out of K again."""

    against: np.ndarray = None

    def position_columns(self, salt_rows, directions=0):
        columns = super().position_columns(salt_rows, directions)
        at = (Q.multipliers * np.arange(Q.blocks)[:, None] + Q.rank + np.arange(directions)).ravel()
        for i, column in enumerate(columns):
            for row, value in zip(at, -self.against[:, :, i].ravel(), strict=True):
                column[row] = int(value)
        return columns


def test_a_client_that_guessed_the_directions_cannot_cancel_them_in_its_commitment(steered):
    """With K free of them f = vĜ would pass for any μ, and the slack could be made small."""
    part = steered.chunk(steered.file)
    plain = steered.answer(replace(part, rows=np.zeros_like(part.rows), push=np.zeros_like(part.push)))
    v = plain.v.copy()
    gap = np.einsum("bqi,bi->bq", part.rows, plain.weights - steered.secret.weights) - part.push
    v[:, Q.rank :] = np.rint(gap / Q.damping)
    solution = steered.honest_about(part, replace(plain, v=v))
    assert np.abs(solution.e).max() <= steered.client.release.predicate.table_end
    given = {name: getattr(steered.secret, name) for name in ("chunk", "weights", "factors", "seed")}
    secrets = Cancelling(**given, against=part.rows)
    client = replace(steered.client, secrets={**steered.client.secrets, 0: secrets})
    assert steered.reason(solution, secrets=secrets, client=client) == RELATION


def test_directions_that_no_order_may_have_are_refused_by_agent_and_verifier(steered, honest):
    claim, bundle = honest
    mask, end = mask_file(steered.mask), steered.client.release.predicate.table_end
    block, place = (int(axis[0]) for axis in np.nonzero(steered.mask.reshape(-1, Q.block_size)))
    on_mask = bytearray(steered.file)
    on_mask[25 + 32 + 12 + 8 + place] = 1  # the first row of the first block with a masked weight
    wrong = [
        (bytes(on_mask), f"direction 0 of block {block} is 1 on masked weight {place}"),
        (steered.published(0, softness=32), "softness 32; the circuit release's damping is 64"),
    ]
    for file, message in wrong:
        with pytest.raises(ProverError, match=message):
            directing.expect_provable(file, mask, Q, end)
        (reason,) = failures(claim.case(bundle, directions=file)).values()
        assert message in reason
    with pytest.raises(ProverError, match="2 forget directions a block; this circuit release takes 1"):
        directing.expect_provable(steered.file, mask, Q.model_copy(update={"directions": 1}), end)
    with pytest.raises(ProverError, match=r"squared length \d+; up to 900 can be proved"):
        directing.expect_provable(steered.file, mask, Q, 900)
    directing.expect_provable(steered.file, mask, Q, end)
