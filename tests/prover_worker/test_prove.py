from dataclasses import replace

import pytest

from prover_worker.errors import AgentError, ProvingFailed
from prover_worker.prove import ChunkWitness, Figures, ProofFolder, prove_claim
from tests.prover_worker.crafted import skipped
from tests.prover_worker.story import BACKEND, failures


def witness_of(claim, asked=None):
    def one(chunk):
        if asked is not None:
            asked.append(chunk)
        return ChunkWitness(claim.client.secrets[chunk], claim.solutions[chunk], claim.rows[chunk])

    return one


def prove(claim, folder, **options):
    touched = sorted(claim.solutions)
    one = options.pop("witness_of", witness_of(claim))
    release, layout = claim.client.release, claim.client.layout
    return prove_claim(BACKEND, release, layout, touched, one, claim.challenge, folder, **options)


def state(folder):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.path.iterdir()}


def test_a_claim_is_proved_by_processes_and_accepted(claim, tmp_path):
    folder, seen = ProofFolder(tmp_path / "proofs"), []
    bundle, figures = prove(claim, folder, jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert failures(claim.case(bundle)) == {}
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert sorted(state(folder)) == ["range-000000", "relation-000000", "relation-000002"]
    assert figures.proofs == 3
    assert figures.cpu_seconds > 0
    assert figures.peak_mb > 50
    assert figures.wall_seconds > 0


def test_finished_proofs_are_not_made_again(claim, bundle, tmp_path):
    folder = ProofFolder(tmp_path / "proofs")
    folder.write("relation", 0, bundle.relations[0])
    folder.write("range", 0, bundle.ranges[0])
    before, asked, seen = state(folder), [], []
    made, figures = prove(
        claim, folder, witness_of=witness_of(claim, asked), progress=lambda done, total: seen.append((done, total))
    )
    after = state(folder)
    assert asked == [2]
    assert {name: after[name] for name in before} == before
    assert set(after) == {*before, "relation-000002"}
    assert figures.proofs == 1
    assert seen == [(2, 3), (3, 3)]
    assert failures(claim.case(made)) == {}

    again, figures = prove(claim, folder, witness_of=None)  # nothing is asked for any more
    assert again == made
    assert figures.proofs == 0
    assert state(folder) == after


def test_an_interrupted_write_leaves_no_proof(claim, bundle, tmp_path):
    """A temporary file is not taken for a proof, and does not stand in the way of one."""
    folder = ProofFolder(tmp_path)
    folder.write("relation", 0, bundle.relations[0])
    folder.write("range", 0, bundle.ranges[0])
    (tmp_path / ".relation-000002.12345").write_bytes(b"half")
    made, figures = prove(claim, folder)
    assert figures.proofs == 1
    assert failures(claim.case(made)) == {}


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    folder = ProofFolder(tmp_path)
    folder.write("range", 7, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AgentError, match=r"disk that holds .* is full, so range-000007 was not written"):
        folder.write("range", 7, b"new")
    assert folder.read("range", 7) == b"old"
    assert not folder.file("range", 8).exists()


def test_proofs_of_a_folder_round_trip(tmp_path):
    folder = ProofFolder(tmp_path / "a" / "b")
    folder.write("relation", 3, b"one")
    folder.write("relation", 3, b"two")
    assert folder.read("relation", 3) == b"two"
    assert [path.name for path in folder.path.iterdir()] == ["relation-000003"]


def test_a_digit_out_of_range_stops_before_ezkl_and_names_the_chunk(claim, tmp_path):
    wrong = skipped(claim.client, claim.mask, 2, claim.solutions[2])
    false = replace(claim, solutions={**claim.solutions, 2: wrong})
    with pytest.raises(ProvingFailed, match=r"chunk 2: a digit of v or e is -?\d+, outside"):
        prove(false, ProofFolder(tmp_path))


def test_figures_add_up():
    total = Figures()
    total.add(Figures(cpu_seconds=1.5, peak_mb=300, proofs=1))
    total.add(Figures(cpu_seconds=0.5, peak_mb=200, proofs=1))
    assert (total.cpu_seconds, total.peak_mb, total.proofs) == (2.0, 300, 2)
