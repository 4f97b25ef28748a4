"""Random digits in lookups: without them a range proof tells how often each digit of a client occurs."""

import itertools
import json
from dataclasses import replace

import pytest

from prover_worker import curve, hiding, prove, release
from prover_worker.backend import CircuitFiles
from prover_worker.client import Agent
from prover_worker.errors import CircuitError, PointError
from prover_worker.layout import digit_base, looked_up, table_columns
from tests.prover_worker.story import BACKEND, P

WORD = 32


def points_of(proof):
    """Every pair of words of a proof that is a point of the curve."""
    words = [int.from_bytes(proof[i : i + WORD], "big") for i in range(0, len(proof) - len(proof) % WORD, WORD)]
    found = set()
    for pair in itertools.pairwise(words):
        try:
            curve.from_affine(*pair)
        except PointError:
            continue
        found.add(pair)
    return found


def shared(files, claim, predicate):
    """Points that range proofs of the very same digits under two salts have in common; the empty column's aside."""
    opened = claim.client.release
    opened = replace(opened, predicate=predicate, range=files)
    layout = replace(claim.client.layout, parameters=predicate.parameters)
    one = list(claim.solutions.values())
    other = [replace(solution, seed=bytes([7, n]) * 16) for n, solution in enumerate(one)]
    proofs = [prove.prove_range(BACKEND, opened, layout, solutions)[0] for solutions in (one, other)]
    empty = {curve.to_affine(curve.basis(files.srs, 1).ones(predicate.range.blinding_rows))}
    return (points_of(proofs[0]) & points_of(proofs[1])) - empty


def test_range_proofs_of_the_same_digits_have_no_point_in_common(built, opened, claim):
    assert shared(opened.range, claim, built[0]) == set()


def test_without_random_digits_they_have_and_a_guess_can_be_checked(built, opened, claim, tmp_path):
    """The attack: a proof of guessed digits under any salt shows whether the guess was right."""
    bare = P.model_copy(update={"noise_rows": 0})
    settings, compiled = BACKEND.compile("range", bare, tmp_path)
    vk, pk = BACKEND.make_keys(settings, compiled, opened.range.srs, tmp_path)
    files = CircuitFiles(settings, vk, opened.range.srs, compiled, pk)
    predicate = built[0].model_copy(update={"parameters": bare})
    assert len(shared(files, claim, predicate)) >= P.columns


def test_random_digits_are_of_the_seed_and_fill_what_a_table_holds(claim):
    solution, base = claim.solutions[0], 2048
    column = solution.digit_column(base, 8, 20_000)
    noise = column[-20_000:]
    assert column[:-20_000] == solution.digit_column(base, 8)
    assert (min(noise), max(noise)) == (-base, base - base // 8 - 1)
    assert len(set(noise)) > 0.98 * hiding.spread(base)
    assert replace(solution, seed=b"another").digit_column(base, 8, 100)[-100:] != column[-20_000:][:100]
    assert replace(solution, chunk=1).digit_column(base, 8, 100)[-100:] != column[-20_000:][:100]


@pytest.mark.parametrize("name", sorted(release.PROFILES))
@pytest.mark.parametrize("directions", [0, 1])
def test_the_profiles_hide(name, directions):
    profile = release.PROFILES[name]
    blocks = profile.blocks - 8 * directions
    hiding.expect_hiding(profile.model_copy(update={"directions": directions, "blocks": blocks}))


def test_entropy_of_counts():
    assert hiding.hidden_bits(0, 1000) == 0
    assert hiding.hidden_bits(1, 1024) == pytest.approx(10)
    assert hiding.hidden_bits(3, 64) == pytest.approx(18 - 2.584962500721156)  # 3! orders
    few = hiding.needed(30_720, 1)
    assert hiding.hidden_bits(few - 1, 30_720) < 764 <= hiding.hidden_bits(few, 30_720)
    assert few < hiding.needed(30_720, 2)
    with pytest.raises(CircuitError, match="a table of 64 digits is too small"):
        hiding.needed(64, 1)


def least(p):
    return table_columns(p) * hiding.needed(hiding.spread(digit_base(p)), table_columns(p))


def test_too_few_random_digits_are_refused_with_the_number_that_is_needed():
    few = least(P) - table_columns(P)
    with pytest.raises(CircuitError, match=rf"has {few} random digits .* {least(P) // 2} are needed"):
        hiding.expect_hiding(P.model_copy(update={"noise_rows": few}))
    with pytest.raises(CircuitError, match="has 0 random digits"):
        hiding.expect_hiding(P.model_copy(update={"noise_rows": 0}))


def test_random_digits_must_stand_in_the_column_of_what_they_hide():
    """One chunk that ends with its column has all of its random digits there; one that is longer has none in it."""
    rows = 1 << P.logrows
    one = P.model_copy(
        update={"table_columns": 1, "range_group": 1, "noise_rows": least(P), "rank": 1, "block_size": 2}
    )
    fits = one.model_copy(update={"blocks": (rows - 40 - one.noise_rows) // 3})
    hiding.expect_hiding(fits)
    cut = one.model_copy(update={"blocks": rows // 3})
    assert looked_up(cut) > rows
    with pytest.raises(CircuitError, match="may hold 0"):
        hiding.expect_hiding(cut)


def test_a_client_refuses_a_release_that_hides_too_little(built, tmp_path):
    """A provider that publishes a circuit without random digits gets no commitment and no proof."""
    predicate, paths = built
    client = Agent(tmp_path, BACKEND)
    folder = client.state.sub("release")
    for role, path in paths.items():
        folder.write(role, path.read_bytes())
    folder.write_json("circuit.json", predicate.model_dump(mode="json", by_alias=True))
    assert client._release().predicate == predicate
    said = predicate.model_dump(mode="json", by_alias=True)
    del said["parameters"]["noiseRows"]
    folder.write_json("circuit.json", said)
    with pytest.raises(CircuitError, match="has 0 random digits for each chunk"):
        client._release()


def test_releases_of_before_read_and_write_as_they_did(built):
    said = json.loads(
        built[0].model_copy(update={"parameters": P.model_copy(update={"noise_rows": 0})}).model_dump_json()
    )
    assert "noiseRows" not in said["parameters"]
    assert "noise_rows" not in said["parameters"]
