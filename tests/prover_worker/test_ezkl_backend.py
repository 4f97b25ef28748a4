"""What the backend's docstring claims to know of ezkl, checked against ezkl itself."""

import json
import pickle
import random
import subprocess
import sys
import time
from dataclasses import replace

import ezkl
import pytest

from prover_worker import curve
from prover_worker.errors import CircuitError, PointError, VerifierBroke
from prover_worker.ezkl_backend import RESERVED_ROWS, _call
from prover_worker.field import R, encode
from prover_worker.layout import column_lengths
from prover_worker.prove import ChunkWitness, relation_columns
from tests.prover_worker.story import BACKEND, P, scalar

ROWS = 3 * P.blocks * P.rank  # of a digit column, without salt
ZERO = "00" * 32


def digit_columns(changes):
    """Four columns of zeros with (column, row, digit) written in."""
    columns = [[0] * column_lengths(P)["Z"] for _ in range(P.range_group)]
    for column, row, digit in changes:
        columns[column][row] = digit
    return columns


def affine(points, files, blinding):
    ones = curve.basis(files.srs, 1).ones(blinding)
    return [curve.to_affine(point + ones) for point in points]


# The first points of a proof


def test_a_relation_proof_begins_with_the_commitments_of_its_columns(built, opened, claim, bundle):
    witness = ChunkWitness(claim.client.secrets[0], claim.solutions[0], claim.rows[0])
    columns = relation_columns(claim.client.layout, witness, claim.challenge, built[0].digit_base)
    expected = [claim.client.basis.commit([x % R for x in column]) for column in columns]
    given = BACKEND.points(bundle.relations[0], 9)
    assert given == affine(expected, opened.relation, built[0].relation.blinding_rows)


def test_a_range_proof_begins_with_the_commitments_of_its_columns(built, opened, claim, bundle):
    expected = [claim.client.basis.commit(claim.solutions[c].digit_column(2048, 8, P.noise_rows)) for c in (0, 2)]
    expected += [curve.IDENTITY, curve.IDENTITY]
    assert BACKEND.points(bundle.ranges[0], 4) == affine(expected, opened.range, built[0].range.blinding_rows)


def test_points_are_uncompressed_and_big_endian():
    proof = b"".join(x.to_bytes(32, "big") for x in (1, 2, 3, 4)) + b"rest"
    assert BACKEND.points(proof, 2) == [(1, 2), (3, 4)]
    with pytest.raises(PointError, match="got a proof of 132 bytes; its 3 commitments"):
        BACKEND.points(proof, 3)


def test_verify_takes_no_byte_after_the_end_though_ezkl_does(opened, bundle, tmp_path):
    for kind, proof in (("relation", bundle.relations[0]), ("range", bundle.ranges[0])):
        files = getattr(opened, kind)
        document = {"instances": [[ZERO] * (kind == "relation")], "proof": [*proof, 0]}
        (tmp_path / "proof").write_text(json.dumps(document))
        assert ezkl.verify(str(tmp_path / "proof"), str(files.settings), str(files.vk), str(files.srs))
        assert BACKEND.verify(kind, files, proof)
        assert not BACKEND.verify(kind, files, proof + b"\0")


#: Verifies a good proof in processes that may have a little more memory than they begin with: how each ends.
SHORT = """
import os, pickle, resource, sys
from pathlib import Path
from prover_worker.ezkl_backend import EzklBackend

files, proof = pickle.loads(Path(sys.argv[1]).read_bytes())
held = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[0])
for more in range(0, 10_000_000, 500_000):
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_AS, (held + more, held + more))
        status = 2
        try:
            status = 0 if EzklBackend().verify("relation", files, proof) else 1
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_machine_without_memory_rejects_no_proof(opened, bundle, tmp_path):
    """Where threads cannot start ezkl panics, as it does over malformed points: that says nothing of the proof."""
    (tmp_path / "case").write_bytes(pickle.dumps((opened.relation, bundle.relations[0])))
    command = [sys.executable, "-c", SHORT, str(tmp_path / "case")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    statuses = {int(line) for line in done.stdout.split()}
    assert 1 not in statuses, "a good proof was rejected"
    assert {0, 2} <= statuses, "memory was never short, or always"


def test_a_file_that_is_not_there_rejects_no_proof(opened, bundle, tmp_path):
    files = replace(opened.relation, settings=tmp_path / "none")
    with pytest.raises(VerifierBroke, match="No such file"):
        BACKEND.verify("relation", files, bundle.relations[0])


def test_proofs_take_numbers_in_one_form_only(opened, bundle):
    """Coordinates and scalars with a modulus added are refused: a proof has one encoding."""
    for kind, proof in (("relation", bundle.relations[0]), ("range", bundle.ranges[0])):
        for start in range(0, len(proof), 96):
            number = int.from_bytes(proof[start : start + 32], "big")
            for modulus in (R, curve.Q):
                if number + modulus < 2**256:
                    forged = proof[:start] + (number + modulus).to_bytes(32, "big") + proof[start + 32 :]
                    assert not BACKEND.verify(kind, getattr(opened, kind), forged)


def test_a_relation_proof_is_no_range_proof(opened, bundle):
    assert not BACKEND.verify("range", opened.range, bundle.relations[0])
    assert not BACKEND.verify("relation", opened.relation, bundle.ranges[0])
    assert not BACKEND.verify("relation", opened.relation, b"")


# The table


def test_the_tables_ends_prove(built, opened):
    low, high = -built[0].digit_base, built[0].table_end
    assert high == low + P.columns * (2**P.logrows - RESERVED_ROWS) - 1
    columns = digit_columns([(0, 0, low), (0, ROWS - 1, high), (3, 0, high), (3, ROWS - 1, low), (2, ROWS, 10**9)])
    assert BACKEND.verify("range", opened.range, BACKEND.prove(opened.range, columns))


PROVE_ONE_DIGIT = """
import sys
from pathlib import Path
from prover_worker.backend import CircuitFiles
from prover_worker.ezkl_backend import EzklBackend
digit, rows, *paths = sys.argv[1:]
files = CircuitFiles(*map(Path, paths))
columns = [[0] * int(rows) for _ in range(4)]
columns[0][0] = int(digit)
backend = EzklBackend()
print("holds" if backend.verify("range", files, backend.prove(files, columns)) else "fails")
"""


@pytest.mark.slow
def test_one_beyond_the_tables_ends_gives_no_proof(built, opened):
    """ezkl may refuse or never come back; what it must not do is make a proof that holds.

    The end itself, proved in the same way, shows that the time is ample.
    """
    files = opened.range
    paths = [str(path) for path in (files.settings, files.vk, files.srs, files.compiled, files.pk)]
    low, high = -built[0].digit_base, built[0].table_end
    running = {
        digit: subprocess.Popen(
            [sys.executable, "-c", PROVE_ONE_DIGIT, str(digit), str(column_lengths(P)["Z"]), *paths],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for digit in (high, low - 1, high + 1)
    }  # fmt: skip
    start = time.monotonic()
    assert "holds" in finish(running.pop(high), 60)
    patience = max(6.0, 2 * (time.monotonic() - start))
    for process in running.values():
        assert "holds" not in finish(process, max(0.1, start + patience - time.monotonic()))


def finish(process, seconds):
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def mock(files, columns, folder, outputs=None):
    """Whether every constraint holds; `outputs` replaces what the circuit computed."""
    inputs, witness = folder / "input", folder / "witness"
    inputs.write_text(json.dumps({"input_data": [encode(column) for column in columns]}))
    ezkl.gen_witness(str(inputs), str(files.compiled), str(witness), str(files.vk), str(files.srs))
    if outputs:
        witness.write_text(json.dumps(json.loads(witness.read_text()) | {"outputs": outputs}))
    try:
        return ezkl.mock(str(witness), str(files.compiled))
    except RuntimeError as error:
        assert "not satisfied" in str(error)  # noqa: PT017 - the error is the answer, not a failure
        return False


def test_every_digit_of_every_column_is_looked_up(built, opened, tmp_path):
    """Rows were trimmed from the settings; no lookup was. First, last and some digits; random ones too."""
    assert mock(opened.range, digit_columns([]), tmp_path)
    noise = ROWS + P.salt_rows
    rows = {0, ROWS - 1, noise, noise + P.noise_rows - 1}
    places = [(c, row) for c in range(4) for row in {*rows, *range(c, ROWS, 9), *range(noise + c, noise + 480, 60)}]
    for number, (column, row) in enumerate(places):
        beyond = built[0].table_end + 1 if number % 2 else -built[0].digit_base - 1
        assert not mock(opened.range, digit_columns([(column, row, beyond)]), tmp_path), (column, row)


# The layout


def test_no_constraint_of_the_relation_went_missing(opened, tmp_path):
    """Random columns and their true scalars; with any one entry changed a constraint breaks. Salt is free."""
    rng = random.Random(0)
    columns = [[rng.randrange(R) for _ in range(length)] for length in column_lengths(P).values()]
    outputs = [encode([scalar(columns)])]
    assert mock(opened.relation, columns, tmp_path, outputs)
    for number, (name, length) in enumerate(column_lengths(P).items()):
        salted = name in {"X", "Y", "H", "D", "J", "Z"}
        body = length - (P.salt_rows if salted else 0) - (P.noise_rows if name == "Z" else 0)
        for row in (0, body - 1, *rng.sample(range(body), 4)):
            assert not mock(opened.relation, bumped(columns, number, row), tmp_path, outputs), (name, row)
        if salted:
            assert mock(opened.relation, bumped(columns, number, body), tmp_path, outputs), name


def bumped(columns, number, row):
    out = [list(column) for column in columns]
    out[number][row] += 1
    return out


def test_settings_are_trimmed_to_the_columns(built, opened):
    for kind in ("relation", "range"):
        settings = json.loads(getattr(opened, kind).settings.read_text())
        assert settings["num_rows"] <= 2**P.logrows - 2 * RESERVED_ROWS
        assert settings["total_assignments"] == settings["num_rows"] * P.columns


def test_a_circuit_that_does_not_fit_is_an_error_not_a_weaker_circuit(opened, tmp_path, capfd):
    big = P.model_copy(update={"blocks": 64})
    settings, compiled = BACKEND.compile("relation", big, tmp_path)
    with pytest.raises(CircuitError, match="ezkl could not make keys"):
        BACKEND.make_keys(settings, compiled, opened.relation.srs, tmp_path)


# Errors


def test_proving_without_a_key_and_with_columns_of_the_wrong_shape(opened):
    with pytest.raises(CircuitError, match="needs a proving key"):
        BACKEND.prove(replace(opened.range, pk=None), digit_columns([]))
    columns = digit_columns([])
    for wrong in (columns[:3], [*columns[:3], columns[3][1:]]):
        with pytest.raises(CircuitError, match=r"^columns of \[.*\] numbers were given, the circuit takes \["):
            BACKEND.prove(opened.range, wrong)


def test_whatever_ezkl_raises_becomes_one_sentence():
    class Panic(BaseException):
        pass

    def fail(error):
        raise error

    for error, text in ((Panic("first\nsecond"), "first"), (RuntimeError(), "RuntimeError"), (Panic(""), "Panic")):
        with pytest.raises(CircuitError, match=f"^ezkl could not do it: {text}$"):
            _call("do it", fail, error)
    with pytest.raises(KeyboardInterrupt):
        _call("do it", fail, KeyboardInterrupt())
