import json
from pathlib import Path

import ezkl
import pytest

from ledger.statements.predicates.circuit_release import ROLES, CircuitRelease
from prover_worker import circuit, release
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
    with pytest.raises(CircuitError, match=f"^{role} has SHA-256 {sha256_file(changed)}; the logged"):
        Release.open(predicate, paths | {role: changed})
    with pytest.raises(CircuitError, match=f"lacks its file {role};"):
        Release.open(predicate, {name: path for name, path in paths.items() if name != role})


def test_another_srs_of_the_same_size_is_refused(built, tmp_path):
    predicate, paths = built
    BACKEND.make_srs(tmp_path / "srs", P.logrows)
    assert (tmp_path / "srs").stat().st_size == paths["srs"].stat().st_size
    with pytest.raises(CircuitError, match=r"^srs has SHA-256"):
        Release.open(predicate, paths | {"srs": tmp_path / "srs"})


def test_proving_keys_are_made_once(built, opened, cache):
    made = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    predicate, paths = built
    vks = (predicate.relation.vk_sha256, predicate.range.vk_sha256)
    kept = {f"{vk}.{part}" for vk in vks for part in ("circuit", "pk")}
    assert {path.name for path in made} == {".lock", *kept}
    again = Release.open(predicate, paths).with_keys(BACKEND, cache)
    assert again == opened
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == made


class Telling(circuit.Range):
    """A range circuit that a curious provider would like: it leaves the random digits out of the lookup."""

    def __init__(self, p):
        super().__init__(p)
        self.noisy = False


def test_a_provider_cannot_have_another_circuit_proved(built, tmp_path, monkeypatch):
    """Everything it publishes fits together, digests and all; but circuits are built by who proves."""
    predicate, paths = built
    with monkeypatch.context() as patch:
        patch.setattr(circuit, "Range", Telling)
        vk, _ = BACKEND.make_keys(*BACKEND.compile("range", P, tmp_path), paths["srs"], tmp_path)
    assert sha256_file(vk) != predicate.range.vk_sha256
    told = predicate.model_copy(update={"range": predicate.range.model_copy(update={"vk_sha256": sha256_file(vk)})})
    opened = Release.open(told, paths | {"range_vk": vk})
    with pytest.raises(CircuitError, match=f"range circuit of this version .* {predicate.range.vk_sha256}; the"):
        opened.with_keys(BACKEND, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob(f"{sha256_file(vk)}*"))


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


def test_a_release_can_be_built_again_and_another_circuit_is_found(built, tmp_path, capsys):
    predicate, paths = built
    (tmp_path / "srs").write_bytes(paths["srs"].read_bytes())
    other = predicate.range.model_copy(update={"vk_sha256": "ab" * 32})
    wrong = predicate.model_copy(update={"range": other})
    (tmp_path / "predicate.json").write_text(wrong.model_dump_json(by_alias=True))
    assert release.main(["--check", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"the range circuit's verifying key of the release is {'ab' * 32}; ezkl" in said
    assert predicate.range.vk_sha256 in said
    (tmp_path / "predicate.json").write_text(predicate.model_dump_json(by_alias=True))
    assert release.main(["--check", str(tmp_path)]) == 0
    assert "were built again" in capsys.readouterr().out


def test_a_release_says_which_code_built_it(built):
    code = built[0].code
    assert code.circuits_sha256 == sha256_file(Path(circuit.__file__))
    assert code.engine_sha256 == sha256_file(next(Path(ezkl.__file__).parent.glob("ezkl*.so")))


def test_the_command_line_explains_what_is_wrong(tmp_path, capsys):
    assert release.main(["--out", str(tmp_path / "out"), "--logrows", "3"]) == 2
    assert "logrows" in capsys.readouterr().err
    assert release.main(["--out", str(tmp_path / "out"), "--provenance", "ceremony"]) == 2
    assert capsys.readouterr().err.startswith("release: a ceremony's SRS must be given as a file")


def test_a_release_for_an_older_form_of_the_relation_is_named_as_such(built):
    predicate, paths = built
    old = predicate.model_copy(update={"parameters": P.model_copy(update={"form": 1})})
    with pytest.raises(CircuitError, match="for form 1 of the relation; this version proves and verifies form 2"):
        Release.open(old, paths)
