"""Halo2 with KZG through ezkl: the only module that imports it.

What this module knows of ezkl 23.0.5, each point checked by a test:
- inputs of `polycommit` visibility become one column and one commitment each, in order, and these are the first
  points of the proof, uncompressed and big-endian (the EVM transcript's form);
- `gen_settings` asks for more rows than the layout uses; `num_rows` may be lowered to what is really there,
  and the layout panics, rather than dropping a constraint, where it does not fit;
- a lookup table fills whole columns: its end is lower + columns·(2^k - RESERVED_ROWS) - 1, whatever was asked;
- `verify` reads as many bytes as a proof has, and does not care what follows them.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import ezkl

from ledger.statements.predicates.circuit_release import CircuitParameters
from prover_worker import curve
from prover_worker.backend import CircuitFiles, Kind
from prover_worker.disks import FULL
from prover_worker.errors import CircuitError, ProvingFailed, VerifierBroke
from prover_worker.field import Vector, encode
from prover_worker.layout import digit_base, looked_up, table_columns
from prover_worker.proof_points import first_points

logging.getLogger("ezkl").setLevel(logging.ERROR)  # it reports every step of every proof

#: Rows at the end of a column that hold no table entries: five blinding factors and a pad of three.
RESERVED_ROWS: Final = 8
_PUBLIC_OUTPUTS: Final = {"relation": 1, "range": 0}
_ZERO: Final = "00" * 32
#: What else a witness holds.
_WITNESS: Final = {
    "outputs": [[_ZERO]],  # the range circuit has no public one, and does not look
    "pretty_elements": None, "processed_inputs": None, "processed_params": None, "processed_outputs": None,
    "max_lookup_inputs": 0, "min_lookup_inputs": 0, "max_range_size": 0, "version": "23.0.5",
}  # fmt: skip
#: What ezkl says where not the proof is at fault but the machine: no memory, no threads, a file that is not there.
_OF_THE_MACHINE: Final = ("os error", "ThreadPoolBuildError", "failed to load vk", "[srs] failed")
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")  # how Rust shows errno
_lengths: dict[tuple[str, int, int], int] = {}  # of proofs, by verifying key


def _call(what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call into ezkl. Rust panics arrive as BaseException; nothing of that kind may end the process.

    Raises CircuitError, but OSError where a disk is full and MemoryError where there is no memory.
    """
    try:
        return function(*args, **kwargs)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        said = f"ezkl could not {what}: {reason[:200]}"
        number = int(found[1]) if (found := _OS_ERROR.search(str(error))) else 0
        if number in FULL:
            raise OSError(number, said) from error
        if number == errno.ENOMEM:
            raise MemoryError(said) from error
        raise CircuitError(said) from error


class EzklBackend:
    """Backend over ezkl's Python bindings. Holds no state; every call reads and writes files."""

    name = "ezkl 23.0.5"

    def code(self) -> tuple[Path, Path]:
        """circuit.py, and ezkl's extension module."""
        return Path(__file__).with_name("circuit.py"), Path(sys.modules["ezkl.ezkl"].__file__ or "")

    def make_srs(self, path: Path, logrows: int) -> None:
        """Write a development SRS of 2^logrows rows."""
        _call("make an SRS", ezkl.gen_srs, str(path), logrows)

    def compile(self, kind: Kind, p: CircuitParameters, folder: Path) -> tuple[Path, Path]:
        """Export to ONNX, write settings trimmed to the circuit's size, compile."""
        from prover_worker import circuit  # brings torch, which neither provers nor verifiers need

        onnx, settings, compiled = (folder / f"{kind}.{suffix}" for suffix in ("onnx", "settings", "compiled"))
        (circuit.export_relation if kind == "relation" else circuit.export_range)(p, onnx)
        arguments = _run_args(kind, p)
        _call("read the circuit", ezkl.gen_settings, str(onnx), str(settings), arguments)
        _trim(settings, kind, p)
        _call("compile the circuit", ezkl.compile_circuit, str(onnx), str(compiled), str(settings))
        onnx.unlink()
        return settings, compiled

    def make_keys(self, settings: Path, compiled: Path, srs: Path, folder: Path) -> tuple[Path, Path]:
        """Run key generation. Selector compression is off: it costs more proving time than it saves."""
        del settings  # compiled holds them
        vk, pk = folder / f"{compiled.stem}.vk", folder / f"{compiled.stem}.pk"
        _call(
            "make keys",
            ezkl.setup,
            str(compiled),
            str(vk),
            str(pk),
            str(srs),
            disable_selector_compression=True,
        )
        return vk, pk

    def blinding_rows(self, files: CircuitFiles) -> int:
        """Find the number of trailing ones by comparing ezkl's commitment of zero with our own."""
        zero = _call("commit", ezkl.kzg_commit, [_ZERO], str(files.vk), str(files.settings), str(files.srs))[0]
        x, y = (int.from_bytes(bytes.fromhex(c), "little") for c in (zero.x, zero.y))
        wanted = curve.from_affine(x, y)
        basis = curve.basis(files.srs, 1)
        for rows in range(2 * RESERVED_ROWS):
            if basis.ones(rows) == wanted:
                return rows
        raise CircuitError("ezkl's commitment of zero is not a run of ones at the end of the column")

    def table_end(self, p: CircuitParameters) -> int:
        """Largest digit in the lookup table."""
        return table_columns(p) * ((1 << p.logrows) - RESERVED_ROWS) - 1 - digit_base(p)

    def prove(self, files: CircuitFiles, columns: Sequence[Vector]) -> bytes:
        """Make a proof from a witness that is a file in memory: nothing of it is left, whatever ends this process.

        Of the witness, ezkl needs the inputs and what the public outputs are said to be; the rest of what its
        `gen_witness` would write, in a tenth of the time that a proof takes, is for people to read.
        """
        if files.pk is None or files.compiled is None:
            raise CircuitError("proving needs a proving key; make one with make_keys")
        lengths, wanted = [len(column) for column in columns], _column_lengths(files.settings)
        if lengths != wanted:
            raise CircuitError(f"columns of {lengths} numbers were given, the circuit takes {wanted}")
        with os.fdopen(os.memfd_create("witness"), "w") as witness:
            json.dump({"inputs": [encode(column) for column in columns]} | _WITNESS, witness)
            witness.flush()
            given = f"/proc/self/fd/{witness.fileno()}"
            try:
                made = _call("prove", ezkl.prove, given, str(files.compiled), str(files.pk), None, str(files.srs))
            except CircuitError as error:
                raise ProvingFailed(str(error)) from error
        return bytes.fromhex(made["proof"].removeprefix("0x"))

    def verify(self, kind: Kind, files: CircuitFiles, proof: bytes) -> bool:
        """Whether these bytes are a proof of zeros, and nothing else.

        A proof with bytes after its end would still hold without the last of them. All proofs of a circuit have one
        length, so this is asked once for each verifying key. Raises VerifierBroke where this machine is at fault.
        """
        state = files.vk.stat()
        key = (str(files.vk), state.st_mtime_ns, state.st_size)
        if key in _lengths:
            return len(proof) == _lengths[key] and self._holds(kind, files, proof)
        if not self._holds(kind, files, proof) or self._holds(kind, files, proof[:-1]):
            return False
        _lengths[key] = len(proof)
        return True

    def _holds(self, kind: Kind, files: CircuitFiles, proof: bytes) -> bool:
        """Rebuild ezkl's proof file around the raw bytes, with zeros for public outputs, and check it.

        Of the SRS a verifier needs the first point and the two of G2; ezkl would read and check all of it every
        time.
        """
        document = json.dumps({"instances": [[_ZERO] * _PUBLIC_OUTPUTS[kind]], "proof": list(proof)})
        with tempfile.TemporaryDirectory(prefix="verify-") as name:
            file, srs = Path(name) / "proof", Path(name) / "srs"
            file.write_text(document)
            srs.write_bytes(curve.reduced_srs(files.srs))
            try:
                return bool(ezkl.verify(str(file), str(files.settings), str(files.vk), str(srs), True))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                if isinstance(error, MemoryError) or any(words in str(error) for words in _OF_THE_MACHINE):
                    raise VerifierBroke(f"this machine could not verify a proof: {str(error)[:200]}") from error
                return False  # Rust panics on malformed points are rejections too

    def points(self, proof: bytes, count: int) -> list[tuple[int, int]]:
        """Read the proof's first points. Raises PointError when the proof is shorter than that."""
        return first_points(proof, count)


def _run_args(kind: Kind, p: CircuitParameters) -> Any:
    arguments: Any = ezkl.PyRunArgs()
    arguments.input_visibility = "polycommit"
    arguments.param_visibility = "fixed"
    arguments.output_visibility = "public" if kind == "relation" else "private"
    arguments.input_scale = arguments.param_scale = 0  # integers stay what they are
    arguments.scale_rebase_multiplier = 100
    arguments.logrows = p.logrows
    arguments.num_inner_cols = p.columns if kind == "relation" else table_columns(p)
    arguments.ignore_range_check_inputs_outputs = True
    arguments.disable_freivalds = True
    # Field elements need no decomposition here; these keep ezkl from laying out one that would not fit.
    arguments.decomp_base, arguments.decomp_legs = 128, 2
    base = digit_base(p)
    # The table fills its columns whatever is asked; asking for less keeps it from taking one column more.
    arguments.lookup_range = (-base, base - base // 8 - 1)
    return arguments


def _column_lengths(settings: Path) -> list[int]:
    """Of a circuit's inputs. ezkl panics over other ones."""
    lengths: list[int] = json.loads(settings.read_text())["module_sizes"]["polycommit"]
    return lengths


def _trim(path: Path, kind: Kind, p: CircuitParameters) -> None:
    """Lower `num_rows` to what fits beside the blinding rows.

    The range circuit repeats its columns until all digits fit: a further one is looked up in the same table, which
    costs less than a wider table, in every column of which every digit would be looked for.
    """
    settings = json.loads(path.read_text())
    rows, width = (1 << p.logrows) - 2 * RESERVED_ROWS, settings["run_args"]["num_inner_cols"]
    digits = looked_up(p)
    copies = 1 if kind == "relation" else -(-digits // (rows * width))
    settings["num_rows"] = min(settings["num_rows"], rows)
    settings["total_assignments"] = settings["num_rows"] * width * copies
    path.write_text(json.dumps(settings))
