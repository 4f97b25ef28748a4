"""Making and checking a circuit release: settings and verifying keys of two circuits, one SRS, all named by digest.

    python -m prover_worker.release --out DIR [--srs FILE --provenance ceremony] [--profile small] [--rank 8 ...]

writes the files and `predicate.json`; `manage.py register_circuit DIR` logs them.

    python -m prover_worker.release --check DIR

builds the circuits of such a folder again, from its parameters and its SRS, and compares the verifying keys.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from ledger.statements.predicates.circuit_release import (
    ROLES,
    Circuit,
    CircuitParameters,
    CircuitRelease,
    Code,
    Srs,
)
from prover_worker.backend import Backend, CircuitFiles, Kind
from prover_worker.curve import srs_logrows
from prover_worker.disks import room_for
from prover_worker.errors import CircuitError, ProverError
from prover_worker.layout import digit_base

#: The form of the relation that this code proves and verifies (docs/protocol.md, section 5).
FORM: Final = 2
#: 20,480 weights per proof; docs/results/proving.md says how each number was found.
DEFAULTS: Final = CircuitParameters(
    logrows=15, columns=3, blocks=320, block_size=64, rank=16, damping=1024, factor_limit=31, grid_bits=22,
    salt_rows=32, range_group=3, table_columns=1, noise_rows=96, form=FORM,
)  # fmt: skip
#: 8,192 weights per proof, for models of some ten thousand weights, as the demonstration's.
SMALL: Final = DEFAULTS.model_copy(
    update={
        "logrows": 14,
        "columns": 2,
        "blocks": 128,
        "rank": 8,
        "range_group": 8,
        "table_columns": None,
        "noise_rows": 320,
    }
)
PROFILES: Final = {"edge": DEFAULTS, "small": SMALL}
_KINDS: Final[tuple[Kind, Kind]] = ("relation", "range")
_MAKING: Final = "making-"  # folders in which proving keys are being made


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_files(cache: Path, vk: str) -> tuple[Path, Path]:
    """Where circuit and proving key are kept that go with the verifying key of this SHA-256."""
    return cache / f"{vk}.circuit", cache / f"{vk}.pk"


@dataclass(frozen=True)
class Release:
    """A release whose files are at hand. `predicate` is what the log holds."""

    predicate: CircuitRelease
    relation: CircuitFiles
    range: CircuitFiles

    @classmethod
    def open(cls, predicate: CircuitRelease, paths: Mapping[str, Path]) -> Release:
        """Take files by role and check each against the logged digest.

        Raises CircuitError naming the first file that is missing or differs.
        """
        _check_files(predicate, paths)
        return cls(predicate, *(_files(kind, paths) for kind in _KINDS))

    def with_keys(self, backend: Backend, cache: Path) -> Release:
        """Return the release with circuits and proving keys, made once and kept in `cache` under the vk's digest.

        Both circuits are built here, from the release's parameters. Raises CircuitError when that yields another
        vk than the logged one: the provider's is then of another circuit, which might tell more than it should; and
        AgentError when the disk is full.
        """
        kept = {kind: self._with_key(kind, backend, cache) for kind in _KINDS}
        return replace(self, relation=kept["relation"], range=kept["range"])

    def files(self, kind: Kind) -> CircuitFiles:
        """The files of one circuit."""
        return self.relation if kind == "relation" else self.range

    def paths(self) -> dict[str, Path]:
        """The files by role, as `open` takes them."""
        found = {"srs": self.relation.srs}
        for kind in _KINDS:
            found |= {f"{kind}_settings": self.files(kind).settings, f"{kind}_vk": self.files(kind).vk}
        return found

    def _with_key(self, kind: Kind, backend: Backend, cache: Path) -> CircuitFiles:
        vk = self._logged_vk(kind)
        compiled, pk = kept_files(cache, vk)
        if not (pk.exists() and compiled.exists()):
            with room_for("a proving key", cache):
                cache.mkdir(parents=True, exist_ok=True)
                with (cache / ".lock").open("a") as lock:  # agents may share it: one makes the key, others wait
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    if not (pk.exists() and compiled.exists()):
                        self._make_key(kind, backend, compiled, pk)
        return replace(self.files(kind), compiled=compiled, pk=pk)

    def _make_key(self, kind: Kind, backend: Backend, compiled: Path, pk: Path) -> None:
        """Make a circuit and its proving key. Whoever was killed doing so has left a folder, which goes first."""
        for left in pk.parent.glob(f"{_MAKING}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=pk.parent, prefix=_MAKING) as name:
            settings, circuit = backend.compile(kind, self.predicate.parameters, Path(name))
            vk, made = backend.make_keys(settings, circuit, self.files(kind).srs, Path(name))
            if sha256_file(vk) != self._logged_vk(kind):
                raise CircuitError(
                    f"the {kind} circuit of this version has a verifying key with SHA-256 {sha256_file(vk)}; the "
                    f"logged one has {self._logged_vk(kind)}: the release is of another circuit or version of the "
                    f"engine than {backend.name}, and nothing is proved under it"
                )
            circuit.replace(compiled)
            made.replace(pk)  # whole or not at all: a killed process leaves no half key

    def _logged_vk(self, kind: Kind) -> str:
        return self.predicate.file_digests()[f"{kind}_vk"]


def _check_files(predicate: CircuitRelease, paths: Mapping[str, Path]) -> None:
    if predicate.parameters.form != FORM:
        raise CircuitError(
            f"the circuit release is for form {predicate.parameters.form} of the relation; this version proves and "
            f"verifies form {FORM}: use the version that made the proofs, or publish a new release"
        )
    digests = predicate.file_digests()
    for role in ROLES:
        if role not in paths:
            raise CircuitError(f"the circuit release lacks its file {role}; fetch it from the ledger again")
        got = sha256_file(paths[role])
        if got != digests[role]:
            raise CircuitError(f"{role} has SHA-256 {got}; the logged circuit release says {digests[role]}")


def _files(kind: Kind, paths: Mapping[str, Path]) -> CircuitFiles:
    return CircuitFiles(paths[f"{kind}_settings"], paths[f"{kind}_vk"], paths["srs"])


def build(
    backend: Backend,
    p: CircuitParameters,
    folder: Path,
    srs: Path | None = None,
    provenance: Literal["ceremony", "development"] = "development",
) -> tuple[CircuitRelease, dict[str, Path]]:
    """Compile both circuits and make their verifying keys; return the predicate and the files by role.

    Without `srs` a development one is generated, and `provenance` must say so. Raises CircuitError for an SRS that
    is none, has other rows than the circuits, or does not fit what is said of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = _bring_srs(backend, p, folder / "srs", srs, provenance)
    paths, circuits = {"srs": own}, {}
    for kind in _KINDS:
        settings, compiled = backend.compile(kind, p, folder)
        vk, pk = backend.make_keys(settings, compiled, own, folder)
        pk.unlink()  # provers make their own, and their own circuit; a verifier needs none
        compiled.unlink()
        settings, vk = (
            path.rename(folder / f"{kind}_{part}") for part, path in (("settings", settings), ("vk", vk))
        )
        files = CircuitFiles(settings, vk, own)
        paths |= {f"{kind}_settings": settings, f"{kind}_vk": vk}
        circuits[kind] = Circuit(
            settings_sha256=sha256_file(settings),
            vk_sha256=sha256_file(vk),
            blinding_rows=backend.blinding_rows(files),
        )
    circuits_module, engine = backend.code()
    predicate = CircuitRelease(
        parameters=p,
        digit_base=digit_base(p),
        table_end=backend.table_end(p),
        relation=circuits["relation"],
        range=circuits["range"],
        srs=Srs(sha256=sha256_file(own), provenance=provenance),
        engine=backend.name,
        code=Code(circuits_sha256=sha256_file(circuits_module), engine_sha256=sha256_file(engine)),
    )
    return predicate, paths


def _bring_srs(backend: Backend, p: CircuitParameters, own: Path, srs: Path | None, provenance: str) -> Path:
    if srs is None:
        if provenance != "development":
            raise CircuitError("a ceremony's SRS must be given as a file; a generated one is for development only")
        backend.make_srs(own, p.logrows)
    else:
        shutil.copyfile(srs, own)
    rows = srs_logrows(own)
    if rows != p.logrows:
        raise CircuitError(
            f"{srs} is an SRS of 2^{rows} rows, the circuits need exactly 2^{p.logrows}; "
            "cut the ceremony's file down with its own tools, or choose other parameters"
        )
    return own


def check(backend: Backend, predicate: CircuitRelease, srs: Path) -> None:
    """Build a release's circuits again and compare. Raises CircuitError naming the first thing that differs.

    Verifying keys follow from parameters and SRS. Settings do not: they carry a time and the order of a hash table.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        again, _ = build(backend, predicate.parameters, Path(name), srs)
    for what, logged, made in (
        ("SRS", predicate.srs.sha256, again.srs.sha256),
        ("digit base", predicate.digit_base, again.digit_base),
        ("end of the table", predicate.table_end, again.table_end),
        ("relation's verifying key", predicate.relation.vk_sha256, again.relation.vk_sha256),
        ("range circuit's verifying key", predicate.range.vk_sha256, again.range.vk_sha256),
        ("relation's number of blinding rows", predicate.relation.blinding_rows, again.relation.blinding_rows),
        ("range circuit's number of blinding rows", predicate.range.blinding_rows, again.range.blinding_rows),
    ):
        if logged != made:
            raise CircuitError(
                f"the {what} of the release is {logged}; {backend.name} and the circuits of this version give "
                f"{made} for its parameters, so it was built from something else"
            )


_NAMES: Final = [name for name in CircuitParameters.model_fields if name != "form"]


def parser() -> argparse.ArgumentParser:
    """The argument parser."""
    top = argparse.ArgumentParser(
        prog="python -m prover_worker.release",
        description="Build a circuit release, or check one by building it anew.",
    )
    what = top.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="where the new release goes")
    what.add_argument("--check", type=Path, help="the folder of a release: predicate.json and srs")
    top.add_argument("--srs", type=Path, help="halo2 KZG parameters of a public ceremony; without, one is made")
    top.add_argument("--provenance", choices=("ceremony", "development"), default="development")
    top.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        default="edge",
        help="parameters to begin with; those below change them",
    )
    for name in _NAMES:
        top.add_argument(f"--{name.replace('_', '-')}", type=int)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check a release from the command line."""
    options = vars(parser().parse_args(arguments))
    try:
        print(_build(options) if options["check"] is None else _check(options["check"]))
    except (OSError, ProverError, ValidationError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    return 0


def _build(options: Mapping[str, Any]) -> str:
    from prover_worker.ezkl_backend import EzklBackend

    changed = {name: options[name] for name in _NAMES if options[name] is not None}
    p = CircuitParameters(**PROFILES[options["profile"]].model_dump() | changed)
    predicate, _ = build(EzklBackend(), p, options["out"], options["srs"], options["provenance"])
    (options["out"] / "predicate.json").write_text(predicate.model_dump_json(by_alias=True, indent=1) + "\n")
    return f"wrote a circuit release with a {predicate.srs.provenance} SRS to {options['out']}"


def _check(folder: Path) -> str:
    from prover_worker.ezkl_backend import EzklBackend

    predicate = CircuitRelease.model_validate_json((folder / "predicate.json").read_bytes())
    check(EzklBackend(), predicate, folder / "srs")
    return "both circuits were built again and give the release's verifying keys"


if __name__ == "__main__":
    sys.exit(main())
