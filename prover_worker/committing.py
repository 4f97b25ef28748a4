"""A client's first two steps: enrol a key, and commit to a model and its curvature before any mask exists.

Every step that finished leaves a file that says so; running it again returns at once. Weights, gradients,
curvature and salt never leave this machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.statements import keys
from ledger.statements.predicates import CircuitRelease, ClientEnrolment, ModelCommitment, ModelRelease
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.circuit_release import ROLES
from ledger.statements.statement import sign_statement
from prover_worker import commitments, curve, pool
from prover_worker.agent_state import Folder
from prover_worker.client_base import ChunkFiles, layout_of, points_root, sha256
from prover_worker.client_keys import KEY, STAGED, load_or_make
from prover_worker.commitments import ChunkSecrets
from prover_worker.continuing import NOTHING, Continuing, Line, keep_zeros, line_of, mute_factors
from prover_worker.damage import KEPT, keep_samples
from prover_worker.disks import room_for
from prover_worker.errors import AgentError
from prover_worker.layout import Layout
from prover_worker.ledger_client import LedgerClient, pin
from prover_worker.release import Release, sha256_file

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class Committing(Continuing):
    """Steps 1 and 2."""

    # 1. enrol

    def enrol(
        self,
        server: str,
        client: str,
        token: str,
        vkey: str | None = None,
        provider_key: str | None = None,
        witnesses: Sequence[str] = (),
        quorum: int | None = None,
    ) -> LogRef:
        """Register this client's key and pin the ledger's. Again after an interruption: the same statement."""
        if self.state.has("agent.json"):
            known = self.state.read_json("agent.json")
            if known["client"] != client:
                raise AgentError(f"this folder belongs to client {known['client']}; give another --state folder")
            if "enrolled" in known:
                return LogRef.model_validate(known["enrolled"])
        else:
            trust = pin(LedgerClient(server).releases(), vkey, provider_key, witnesses, quorum)
            self.state.write_json("agent.json", {"server": server, "client": client, "trust": asdict(trust)})
        load_or_make(self.state.file(KEY))
        predicate = ClientEnrolment(client=client, public_key=keys.public_hex(self._key))
        ref = LedgerClient(server).submit(sign_statement(predicate, self._key), token)
        self.state.write_json("agent.json", self.state.read_json("agent.json") | {"enrolled": ref.model_dump()})
        return ref

    def replace_key(self, token: str) -> LogRef:
        """Enrol a new key for this client, after an officer has revoked the old one and given out `token`.

        Commitments, orders and pinned keys stay. Again after an interruption: the same new key, the same
        statement. A client that lost the folder enrols with `enrol` into a new one, and commits anew.
        """
        known = self.state.read_json("agent.json")
        self.keys.abandon()
        key = load_or_make(self.state.file(STAGED))
        predicate = ClientEnrolment(client=known["client"], public_key=keys.public_hex(key))
        ref = LedgerClient(known["server"]).submit(sign_statement(predicate, key), token)
        self.state.file(STAGED).replace(self.state.file(KEY))
        self.state.write_json("agent.json", known | {"enrolled": ref.model_dump()})
        return ref

    # 2. commit

    def commit(
        self,
        weights: Path,
        data: Path,
        samples: int,
        seed: int = 0,
        *,
        model: str | None = None,
        evaluation: Path | None = None,
        anew: bool = False,
        zero: bool = False,
        unlinked: bool = False,
        patience: float = 600,
    ) -> LogRef:
        """Commit to a personalised model and its curvature on the client's own data, before any mask exists.

        `weights` is a safetensors file that fits the provider's model release, `data` an .npz with x and y.
        `model` is the name or UUID of the model that was personalised, by default the newest. Orders are later
        measured on a sample of `evaluation`, which is by default `data`; it is kept here. `anew` sets an earlier,
        logged commitment and its orders aside, as after an order that was met. Weights that orders have set to
        zero must still be zero, which is proved after committing: `zero` sets them, `unlinked` commits to a model
        that says nothing about earlier ones. `patience`: seconds to wait for the ledger's answers to that proof.
        """
        folder = self.state.sub("commitment")
        if anew and folder.has("logged.json"):
            self._set_aside(folder)
        ledger = self._ledger()
        if folder.has("logged.json"):
            self.show_zeros(folder, ledger, patience)
            return LogRef.model_validate(folder.read_json("logged.json"))
        model_ref, released, release, circuit_ref = self._fetch_release(ledger, model)
        layout = layout_of(release, released)
        if not folder.has(KEPT):
            keep_samples(folder, evaluation or data)
        line = NOTHING if unlinked else line_of(ledger, folder, self._client, model_ref, layout.total)
        if not folder.has("factors.npz"):
            self._prepare(folder, released, release, weights, data, samples, seed, line, zero=zero)
        if not folder.has("curvature.points"):
            self._commit_chunks(folder, layout, release)
        predicate = self._commitment(folder, layout, model_ref, circuit_ref, line)
        for name in ("weights.points", "curvature.points"):
            self.report("uploading commitments", name == "curvature.points", 2)
            ledger.upload(folder.read(name))
        ref = ledger.submit(sign_statement(predicate, self._key))
        folder.write_json("logged.json", ref.model_dump())
        self.show_zeros(folder, ledger, patience)
        return ref

    def _set_aside(self, folder: Folder) -> None:
        """Keep the old commitment and its orders under its log index; a crash in between is finished next time."""
        old = self.state.sub(f"commitment-{folder.read_json('logged.json')['index']}").path
        with room_for(old.name, self.state.path):
            old.mkdir(exist_ok=True)
        orders = self.state.file("orders")
        if orders.exists():
            orders.rename(old / "orders")
        shutil.rmtree(self.state.file("release"), ignore_errors=True)  # fetched again, perhaps another one
        folder.path.rename(old / "commitment")

    def _fetch_release(
        self, ledger: LedgerClient, name: str | None
    ) -> tuple[LogRef, ModelRelease, Release, LogRef]:
        """The named model and the current circuit release, as the log has them, with the circuit's files."""
        listed = ledger.releases()
        if not listed["models"] or listed["circuit"] is None:
            raise AgentError("the ledger has no model or no circuit release yet; the provider must publish both")
        model_ref = LogRef.model_validate(chosen_model(listed["models"], name)["ref"])
        circuit_ref = LogRef.model_validate(listed["circuit"]["ref"])
        model = ledger.provider_statement(model_ref, ModelRelease)
        circuit = ledger.provider_statement(circuit_ref, CircuitRelease)
        folder = self.state.sub("release")
        for number, (role, digest) in enumerate(circuit.file_digests().items()):
            self.report("fetching the circuit release", number, len(ROLES))
            if not folder.has(role) or sha256_file(folder.file(role)) != digest:
                folder.write(role, ledger.download(digest))
        for file, said in (("circuit.json", circuit), ("model.json", model)):
            self._keep_release(folder, file, said.model_dump(mode="json", by_alias=True))
        return model_ref, model, self._release(), circuit_ref

    def _keep_release(self, folder: Folder, file: str, said: dict[str, Any]) -> None:
        """Write what the log says; where it says another thing than when this commitment was begun, begin anew."""
        if folder.has(file) and folder.read_json(file) != said:
            logger.warning("the provider's %s is another than before; the commitment is begun anew", file)
            shutil.rmtree(self.state.sub("commitment").path, ignore_errors=True)
        folder.write_json(file, said)

    def _prepare(
        self,
        folder: Folder,
        model: ModelRelease,
        release: Release,
        weights: Path,
        data: Path,
        samples: int,
        seed: int,
        line: Line = NOTHING,
        *,
        zero: bool = False,
    ) -> None:
        """Grid weights, salted digests of the other tensors, the deployable model, integer factors."""
        from unlearning import backbones, lattice, recipe

        p = release.predicate.parameters
        state = backbones.load(weights)
        names = [target.name for target in model.targets]
        _expect_shapes(state, model)
        grid = lattice.to_grid(backbones.flatten_targets(state, names), p.grid_bits)
        keep_zeros(grid.numpy(), line.zeros, model, zero=zero)  # the same memory
        committed = backbones.unflatten(state, names, lattice.from_grid(grid, p.grid_bits))
        backbones.with_weights(model.architecture, committed)  # raises where the file is no such model
        others = secrets.token_bytes(32)
        salted = _salted_digests(state, set(names), others)
        with folder.appearing("model.safetensors") as path:
            backbones.save(path, committed)
        made = recipe.curvature(
            model.architecture,
            folder.file("model.safetensors"),
            data,
            names,
            p.block_size,
            p.rank,
            p.factor_limit,
            samples,
            seed,
            lambda part, text: self.report(f"curvature: {text}", int(part * 100), 100),
        )
        mute_factors(made.numpy(), line.zeros)
        made = lattice.temper(made, p.damping, release.predicate.table_end)
        folder.write("seed", secrets.token_bytes(32))
        folder.write_json("others.json", {"salt": others.hex(), "sha256": salted})
        folder.write_arrays("factors.npz", weights=grid.numpy(), factors=made.numpy())

    def _commit_chunks(self, folder: Folder, layout: Layout, release: Release) -> None:
        """Points of all chunks. Two files, the second written last: its presence means both are there."""
        made, secrets_of = ChunkFiles(folder.sub("points")), self._secrets_of(layout)
        missing = [chunk for chunk in range(layout.chunks) if not made.has(chunk)]
        tasks = ((release, layout, secrets_of(chunk)) for chunk in missing)
        done = layout.chunks - len(missing)
        self.report("committing to weights and curvature", done, layout.chunks, self.jobs)
        for number, (weight, curvature) in pool.run(_commit_chunk, tasks, self.jobs) if missing else ():
            made.write(missing[number], weight + curvature)
            done += 1
            self.report("committing to weights and curvature", done, layout.chunks, self.jobs)
        records = [made.read(chunk) for chunk in range(layout.chunks)]
        folder.write("weights.points", b"".join(record[: curve.POINT_BYTES] for record in records))
        folder.write("curvature.points", b"".join(record[curve.POINT_BYTES :] for record in records))
        made.clear()

    def _commitment(
        self, folder: Folder, layout: Layout, model: LogRef, circuit: LogRef, line: Line
    ) -> ModelCommitment:
        weights, curvature = folder.read("weights.points"), folder.read("curvature.points")
        return ModelCommitment(
            client=self._client,
            model=model,
            circuit=circuit,
            chunks=layout.chunks,
            weights_sha256=sha256(weights),
            weights_root=points_root(weights, 1),
            curvature_sha256=sha256(curvature),
            curvature_root=points_root(curvature, layout.points_per_curvature),
            other_tensors_sha256=folder.read_json("others.json")["sha256"],
            continues=line.continues,
        )


def chosen_model(listed: Sequence[Mapping[str, Any]], name: str | None) -> Mapping[str, Any]:
    """The newest model of that name or UUID; without one the newest of all. Raises AgentError."""
    found = [model for model in listed if name in {None, model["uuid"], model["predicate"]["name"]}]
    if not found:
        known = ", ".join(repr(model["predicate"]["name"]) for model in listed)
        raise AgentError(f"the ledger has no model {name!r:.100}; it has {known:.500}")
    return found[-1]


def _commit_chunk(release: Release, layout: Layout, secret: ChunkSecrets) -> tuple[bytes, bytes]:
    basis = curve.basis(release.relation.srs, layout.commit_rows)
    return (
        commitments.commit_weights(basis, layout, secret),
        commitments.commit_curvature(basis, layout, secret),
    )


def _salted_digests(state: dict[str, torch.Tensor], targets: set[str], salt: bytes) -> str:
    """SHA-256 over the sorted list of (name, salted SHA-256) of all tensors that are not targets."""
    listed = {}
    for name, tensor in state.items():
        if name not in targets:
            array = tensor.detach().cpu().contiguous().numpy()
            head = json.dumps([name, str(array.dtype), list(array.shape)]).encode()
            listed[name] = hashlib.sha256(salt + len(head).to_bytes(4, "big") + head + array.tobytes()).hexdigest()
    return sha256(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode())


def _expect_shapes(state: dict[str, torch.Tensor], model: ModelRelease) -> None:
    for target in model.targets:
        if target.name not in state or list(state[target.name].shape) != target.shape:
            got = list(state[target.name].shape) if target.name in state else "no such tensor"
            raise AgentError(f"the model file has {got} for {target.name}; the provider's model has {target.shape}")
