import json
from dataclasses import replace

import pytest

from ledger.statements.predicates.circuit_release import ROLES, CircuitRelease
from prover_worker import release
from prover_worker.errors import CircuitError
from prover_worker.release import Release, sha256_file
from tests.prover_worker.story import BACKEND, P


def test_build_names_every_file_by_its_digest(built):
    predicate, paths = built
    assert set(paths) == set(ROLES)
    digests = predicate.file_digests()
    assert set(digests) == set(ROLES)
    assert len(set(digests.values())) == len(ROLES)
    assert all(sha256_file(path) == digests[role] for role, path in paths.items())
    assert {path.name for path in paths["srs"].parent.iterdir()} == set(ROLES)  # no proving key, no ONNX


def test_build_says_what_the_circuits_are(built):
    predicate, _ = built
    assert predicate.parameters == P
    assert (predicate.digit_base, predicate.table_end) == (2048, 2031)
    assert predicate.srs.provenance == "development"
    assert predicate.engine == BACKEND.name
    assert CircuitRelease.model_validate_json(predicate.model_dump_json(by_alias=True)) == predicate


@pytest.mark.parametrize("role", ROLES)
def test_a_file_that_differs_or_is_missing_is_named(built, tmp_path, role):
    predicate, paths = built
    changed = tmp_path / role
    changed.write_bytes(paths[role].read_bytes() + b"\0")
    verifying = not role.endswith("_compiled")
    for opener, needs_it in ((Release.open, True), (Release.open_for_verifying, verifying)):
        missing = {name: path for name, path in paths.items() if name != role}
        if not needs_it:
            assert opener(predicate, missing).relation.vk == paths["relation_vk"]
            continue
        with pytest.raises(CircuitError, match=f"^{role} has SHA-256 {sha256_file(changed)}; the logged"):
            opener(predicate, paths | {role: changed})
        with pytest.raises(CircuitError, match=f"lacks its file {role};"):
            opener(predicate, missing)


def test_another_srs_of_the_same_size_is_refused(built, tmp_path):
    predicate, paths = built
    BACKEND.make_srs(tmp_path / "srs", P.logrows)
    assert (tmp_path / "srs").stat().st_size == paths["srs"].stat().st_size
    with pytest.raises(CircuitError, match=r"^srs has SHA-256"):
        Release.open(predicate, paths | {"srs": tmp_path / "srs"})


def test_proving_keys_are_made_once(built, opened, cache):
    made = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    predicate, paths = built
    assert {path.name for path in made} == {
        ".lock", f"{predicate.relation.vk_sha256}.pk", f"{predicate.range.vk_sha256}.pk"
    }  # fmt: skip
    again = Release.open(predicate, paths).with_keys(BACKEND, cache)
    assert again == opened
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == made


def test_keys_whose_vk_differs_from_the_logged_one_are_refused(built, tmp_path):
    predicate, paths = built
    other = predicate.relation.model_copy(update={"vk_sha256": "00" * 32})
    lying = replace(Release.open(predicate, paths), predicate=predicate.model_copy(update={"relation": other}))
    with pytest.raises(CircuitError, match=f"gave a verifying key with SHA-256 {predicate.relation.vk_sha256}"):
        lying.with_keys(BACKEND, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_verifiers_release_makes_no_keys(built, tmp_path):
    with pytest.raises(CircuitError, match="proving needs the compiled circuits"):
        Release.open_for_verifying(*built).with_keys(BACKEND, tmp_path)


def test_a_generated_srs_is_no_ceremonys(tmp_path):
    with pytest.raises(CircuitError, match="must be given as a file"):
        release.build(BACKEND, P, tmp_path, provenance="ceremony")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_writes_a_release_and_its_predicate(tmp_path, capsys, built):
    srs = built[1]["srs"]
    options = ["--out", str(tmp_path / "out"), "--srs", str(srs), "--provenance", "ceremony", "--profile", "small"]
    for name, value in P.model_dump(exclude={"form", "table_columns"}).items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    assert release.main(options) == 0
    assert "ceremony SRS" in capsys.readouterr().out
    predicate = CircuitRelease.model_validate(json.loads((tmp_path / "out/predicate.json").read_text()))
    assert predicate.srs.provenance == "ceremony"
    for one, other in ((predicate.relation, built[0].relation), (predicate.range, built[0].range)):
        assert one.vk_sha256 == other.vk_sha256  # it follows from circuit and SRS; settings carry a time stamp
    Release.open(predicate, {role: tmp_path / "out" / role for role in ROLES})


def test_the_command_line_explains_what_is_wrong(tmp_path, capsys):
    assert release.main(["--out", str(tmp_path / "out"), "--logrows", "3"]) == 2
    assert "logrows" in capsys.readouterr().err
    assert release.main(["--out", str(tmp_path / "out"), "--provenance", "ceremony"]) == 2
    assert capsys.readouterr().err.startswith("release: a ceremony's SRS must be given as a file")


def test_a_release_for_an_older_form_of_the_relation_is_named_as_such(built):
    predicate, paths = built
    old = predicate.model_copy(update={"parameters": P.model_copy(update={"form": 1})})
    for opens in (Release.open, Release.open_for_verifying):
        with pytest.raises(
            CircuitError, match="for form 1 of the relation; this version proves and verifies form 2"
        ):
            opens(old, paths)
