"""A later version of a model keeps its zeros: proved for real, and every way around it tried for real.

Two masks were obeyed: they touch chunk 0 and chunk 2, one after the other. What is logged is the commitment; its
challenge follows from its own points, unless a test says otherwise.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest

from ledger.statements.predicates import ModelRelease
from ledger.statements.predicates.model_release import TargetTensor
from ledger.tlog.checkpoint import Checkpoint
from prover_worker import challenge, continuation, work_columns
from prover_worker.bundle import ProofBundle
from prover_worker.challenge import derive_continuation
from prover_worker.commitments import ChunkSecrets
from prover_worker.continuing import keep_zeros, mute_factors
from prover_worker.crew import Crew
from prover_worker.errors import AgentError, BundleError, CircuitError, ProverError
from prover_worker.field import R
from prover_worker.prove import ProofFolder
from prover_worker.work_folder import Site
from tests.prover_worker.crafted import OTHER_X, RELATION, G, moved
from tests.prover_worker.dying import Believing
from tests.prover_worker.story import (
    BACKEND,
    TOTAL,
    Client,
    P,
    failures,
    make_client,
    make_mask,
    mask_file,
    scalar,
    solve,
)

NOT_ZERO = "the proof does not show that what was set to zero is still zero"


def halves():
    """The masks of two windows: chunk 0 in the first, chunk 2 in the second; one weight is in both."""
    first, second = make_mask(), make_mask()
    first[256:], second[:256] = False, False
    second[np.flatnonzero(first)[0]] = True
    return first, second


MASKS = halves()
UNION = MASKS[0] | MASKS[1]


@dataclass(frozen=True)
class Line:
    """A commitment that continues a model after two windows."""

    client: Client

    @property
    def leaf(self):
        return hashlib.sha256(b"".join([*self.client.weights, *self.client.curvature])).digest()

    @property
    def checkpoint(self):
        return Checkpoint("tests/ledger", 9, hashlib.sha256(b"root" + self.leaf).digest())

    @cached_property
    def challenge(self):
        return derive_continuation(P, self.checkpoint, 7, self.leaf)

    def rows(self, mask=UNION):
        return self.client.layout.masked_rows(np.flatnonzero(mask))

    def prove_chunk(self, chunk, **changed):
        secrets = changed.get("secrets", self.client.secrets[chunk])
        rows, drawn = changed.get("rows", self.rows()[chunk]), changed.get("challenge", self.challenge)
        release, layout = self.client.release, self.client.layout
        return continuation.prove_chunk(BACKEND, release, layout, secrets, rows, drawn)[0]

    def case(self, proofs, **changed):
        given = {
            "release": self.client.release,
            "total": TOTAL,
            "weights": b"".join(self.client.weights),
            "curvature": b"".join(self.client.curvature),
            "masks": [mask_file(mask) for mask in MASKS],
            "checkpoint": self.checkpoint,
            "index": 7,
            "leaf": self.leaf,
            "proofs": proofs if isinstance(proofs, bytes) else continuation.format_continuation(proofs),
        }
        return continuation.ContinuationCase(**given | changed)


def found(case):
    return continuation.verify_continuation(case, BACKEND).failures


def zeroed(client, mask=UNION):
    """The client with everything zero where a mask was obeyed, and new salt."""
    secrets = {}
    for chunk, one in client.secrets.items():
        keep = ~client.layout.blocks_of(mask, chunk).astype(bool)
        secrets[chunk] = ChunkSecrets(chunk, one.weights * keep, one.factors * keep[:, None, :], b"n" * 32)
    return Client(client.release, secrets)


def with_secrets(line, chunk, **changed):
    """Another commitment: one chunk of it is otherwise."""
    other = replace(line.client.secrets[chunk], **changed)
    return Line(Client(line.client.release, {**line.client.secrets, chunk: other}))


@pytest.fixture(scope="module")
def line(opened):
    return Line(zeroed(make_client(opened, 1)))


@pytest.fixture(scope="module")
def proofs(line):
    return {chunk: line.prove_chunk(chunk) for chunk in (0, 2)}


def test_zeros_that_were_kept(line, proofs):
    outcome = continuation.verify_continuation(line.case(proofs), BACKEND)
    assert outcome.failures == {}
    assert (outcome.proved, outcome.touched, outcome.untouched) == (2, 2, 1)


def test_making_the_proofs_goes_on_where_it_stopped(line, proofs, tmp_path):
    folder, seen = ProofFolder(tmp_path), []
    for chunk, proof in proofs.items():
        folder.write("continuation", chunk, proof)
    made = continuation.prove(
        BACKEND, line.client.release, line.client.layout, line.rows(), line.client.secrets.get, line.challenge,
        folder, 1, lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert made == continuation.format_continuation(proofs)
    assert seen == [(2, 2)]


def test_other_machines_get_the_same_columns(line, proofs, tmp_path):
    class Bell:
        def wake(self, name, item):
            run, chunk = crew.site.run(name), int(item.split("-")[1])
            assert run.take(item, "here")
            client = line.client
            expected = continuation.columns(
                client.layout, client.secrets[chunk], line.rows()[chunk], line.challenge
            )
            assert work_columns.parse_columns(run.columns(item)) == expected
            run.hand_in(item, work_columns.Made(proof=proofs[chunk].hex(), seconds=1, peak_mb=1))

    crew = Crew(Site.open(tmp_path / "shared", make=True), Bell(), BACKEND, poll_seconds=0)
    made = continuation.prove(
        BACKEND, line.client.release, line.client.layout, line.rows(), line.client.secrets.get, line.challenge,
        ProofFolder(tmp_path / "proofs"), 1, lambda _done, _total: None, crew=crew,
    )  # fmt: skip
    assert made == continuation.format_continuation(proofs)


@pytest.mark.parametrize("what", ["weights", "factors"])
def test_one_grid_step_away_from_zero(line, proofs, what):
    """A masked weight, or one entry of a factor at a masked weight, by which a later order would revive it."""
    block, place = divmod(line.rows()[0][3], 16)
    changed = getattr(line.client.secrets[0], what).copy()
    changed[(block, place) if what == "weights" else (block, 2, place)] = 1
    crafted = with_secrets(line, 0, **{what: changed})
    assert found(crafted.case({0: crafted.prove_chunk(0), 2: crafted.prove_chunk(2)})) == {0: NOT_ZERO}


def test_rows_left_out_of_the_proof(line, proofs):
    """The client treats a masked weight as if it were none, so that its output is zero."""
    row = line.rows()[0][3]
    block, place = divmod(row, 16)
    weights = line.client.secrets[0].weights.copy()
    weights[block, place] = 5000
    crafted = with_secrets(line, 0, weights=weights)
    fewer = [other for other in line.rows()[0] if other != row]
    drawn = crafted.challenge
    columns = continuation.columns(crafted.client.layout, crafted.client.secrets[0], fewer, drawn)
    assert scalar(columns) == 0
    proof = crafted.prove_chunk(0, rows=fewer)
    assert found(crafted.case({0: proof, 2: crafted.prove_chunk(2)}))[0].startswith(
        "the proof commits to another tau_kept"
    )


def test_a_window_left_out_of_the_union(line, proofs):
    """Proofs for the first window's mask only: the second chunk is missing, and a proof too many is none."""
    assert found(line.case({0: proofs[0]})) == {2: "no proof was given for this chunk"}
    first = line.case(proofs, masks=[mask_file(MASKS[0])])
    assert list(found(first)) == [None]
    both = found(line.case({0: line.prove_chunk(0, rows=line.rows(MASKS[0])[0][1:]), 2: proofs[2]}))
    assert both == {0: "the proof commits to another tau_kept than the log does"}


def test_points_of_another_commitment(line, proofs):
    """Zero weights are committed to, and the proof is made with those; what is logged is another model."""
    block, place = divmod(line.rows()[0][0], 16)
    weights = line.client.secrets[0].weights.copy()
    weights[block, place] = 77
    logged = with_secrets(line, 0, weights=weights)
    made = {c: logged.prove_chunk(c, secrets=line.client.secrets[c]) for c in (0, 2)}
    assert found(logged.case(made)) == {0: OTHER_X}


def test_the_challenge_of_another_commitment(line, proofs):
    other = with_secrets(line, 1, weights=line.client.secrets[1].weights + 1)
    assert set(found(other.case(proofs)).values()) == {OTHER_X}


def test_a_known_challenge_would_be_enough_to_cheat(line):
    """Two masked weights that cancel under the challenge: why the commitment is logged before it is drawn."""
    rows = line.rows()[0]
    tau = line.challenge.tau()
    weights = line.client.secrets[0].weights.astype(object)
    flat = weights.ravel()
    flat[rows[0]], flat[rows[1]] = tau[rows[1]], (-tau[rows[0]]) % R
    secrets = replace(line.client.secrets[0], weights=flat.reshape(weights.shape))
    columns = continuation.columns(line.client.layout, secrets, rows, line.challenge)
    assert scalar(columns) == 0
    crafted = with_secrets(line, 0, weights=secrets.weights)
    redrawn = continuation.columns(crafted.client.layout, secrets, rows, crafted.challenge)
    assert scalar(redrawn) != 0


def test_zero_columns_that_are_not_zero(line, proofs):
    """Whatever a client would like to subtract: H, D, J and Z are the verifier's own zeros."""
    weights = line.client.secrets[0].weights.copy()
    block, place = divmod(line.rows()[0][0], 16)
    weights[block, place] = 1
    crafted = with_secrets(line, 0, weights=weights)
    columns = continuation.columns(
        crafted.client.layout, crafted.client.secrets[0], line.rows()[0], crafted.challenge
    )
    off = scalar(columns)
    assert off != 0
    drawn = crafted.challenge
    # One entry of J, and a v such that α_0 J v takes the scalar to zero.
    columns[6][crafted.client.layout.factor_start] = 1
    columns[7][0] = off * pow(drawn.alpha[0], -1, R) % R
    assert scalar(columns) == 0
    proof = BACKEND.prove(crafted.client.release.relation, columns)
    assert BACKEND.verify("relation", crafted.client.release.relation, proof)
    reason = "the proof commits to another J than the log does"
    assert found(crafted.case({0: proof, 2: crafted.prove_chunk(2)})) == {0: reason}


def test_an_unlearning_proof_is_no_continuation_and_the_other_way_round(line, proofs, claim, bundle):
    assert set(found(line.case(dict(bundle.relations))).values()) <= {OTHER_X, RELATION}
    given = failures(claim.case(ProofBundle(proofs, bundle.ranges)))
    assert set(given) == {0, 2}
    assert all(reason.startswith("the proof commits to another") for reason in given.values())


def test_the_two_kinds_of_challenge_never_agree(line):
    other = challenge.derive(P, line.checkpoint, 7, line.leaf)
    mine = line.challenge
    for name in ("rho", "sigma", "alpha", "beta", "gamma", "draw_seed"):
        assert getattr(mine, name) != getattr(other, name)
    same = line.prove_chunk(0, challenge=other)
    assert list(found(line.case({0: same, 2: same}))) == [0, 2]


def test_one_proof_for_two_chunks_and_tampered_bytes(line, proofs):
    assert found(line.case({0: proofs[0], 2: proofs[0]})) == {2: OTHER_X}
    for at in (0, 64, 9 * 64, len(proofs[0]) - 1):
        bad = proofs[0][:at] + bytes([proofs[0][at] ^ 1]) + proofs[0][at + 1 :]
        assert list(found(line.case({0: bad, 2: proofs[2]}))) == [0]
    assert list(found(line.case({0: proofs[0] + b"\0", 2: proofs[2]}))) == [0]


def test_malformed_files(line, proofs):
    good = continuation.format_continuation(proofs)
    assert continuation.parse_continuation(good) == proofs
    for bad in (b"", good[:-1], good + b"\0", good.replace(b"continuation", b"proof"), good[:40]):
        with pytest.raises(BundleError):
            continuation.parse_continuation(bad)
        assert list(found(line.case(bad))) == [None]
    for changed in ({"masks": [b"x"]}, {"weights": b"x"}, {"curvature": b"x"}, {"total": TOTAL + 16}):
        assert list(found(line.case(proofs, **changed))) == [None]
    assert list(found(line.case(proofs, index=9))) == [None]
    with pytest.raises(ProverError, match="does not cover the commitment"):
        derive_continuation(P, line.checkpoint, 9, line.leaf)


def test_another_releases_key(line, proofs, opened):
    broken = dataclasses.replace(opened, relation=dataclasses.replace(opened.relation, srs=opened.relation.vk))
    with pytest.raises(CircuitError):
        found(line.case(proofs, release=broken))


def test_a_later_order_cannot_reach_the_zeros(line):
    """Factors that are zero there leave them alone, whatever another mask asks for elsewhere."""
    other = ~UNION & (np.random.default_rng(5).random(TOTAL) < 0.1)
    for chunk, solution in solve(line.client, other).items():
        kept = line.client.layout.blocks_of(UNION, chunk).astype(bool)
        assert solution.f.any()
        assert not solution.weights[kept].any()


TARGETS = [TargetTensor(name="a", shape=[TOTAL // 2]), TargetTensor(name="b", shape=[TOTAL // 2])]
MODEL = ModelRelease(name="m", file_sha256="ab" * 32, architecture={}, targets=TARGETS)


def test_the_agent_keeps_zeros_before_it_commits():
    zeros, flat = np.array([3, 5, TOTAL - 1]), np.arange(TOTAL)
    flat[3] = 0
    with pytest.raises(AgentError, match=r"2 of 3 weights .* \(1 in a, 1 in b\).* --zero .* nothing was logged"):
        keep_zeros(flat, zeros, MODEL, zero=False)
    assert flat[5] == 5
    assert keep_zeros(flat, zeros, MODEL, zero=True) == 2
    assert not flat[zeros].any()
    assert keep_zeros(flat, zeros, MODEL, zero=False) == 0
    factors = np.ones((TOTAL // 16, 4, 16), dtype=np.int8)
    mute_factors(factors, zeros)
    assert not factors[0, :, [3, 5]].any()
    assert factors.sum() == 4 * (TOTAL - 3)


def test_nothing_to_show_needs_no_proof(line):
    assert found(line.case({}, masks=[])) == {}


def test_wrong_points_are_found_by_the_comparison_alone(line, proofs):
    """As in test_combining.py: nothing else looks at these proofs, and the errors cancel."""
    for column in range(9):
        made = {0: moved(proofs[0], column, G), 2: moved(proofs[2], column, -G)}
        failing = continuation.verify_continuation(line.case(made), Believing()).failures
        assert set(failing) == {0, 2}
        assert all(reason.startswith("the proof commits to another") for reason in failing.values())
    assert continuation.verify_continuation(line.case(proofs), Believing()).failures == {}
