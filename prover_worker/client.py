"""The client's side of the protocol, step by step, every step resumable.

1. enrol     register the key, pin the ledger's keys                            (committing.py)
2. commit    put the model on the grid, compute curvature, log Com(θp), Com(Cp)  (committing.py)
3. claim     verify an order, compensate, log Com(θu) and the commitments of the solution
4. prove     verify the challenge, prove every touched chunk, submit
5. settle    wait for the verdict; once accepted, the unlearned model is the one to deploy
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.statements.predicates import Challenge, Claim, Mask, Order, Proof
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from prover_worker import commitments, curve, pool
from prover_worker.agent_state import Folder
from prover_worker.bundle import ProofBundle, format_bundle
from prover_worker.challenge import Challenge as RandomElements
from prover_worker.challenge import derive
from prover_worker.client_base import points_root, sha256
from prover_worker.commitments import ChunkSolution
from prover_worker.committing import Committing
from prover_worker.errors import AgentError
from prover_worker.layout import Integers, Layout
from prover_worker.ledger_client import LedgerClient
from prover_worker.prove import ChunkWitness, ProofFolder, prove_claim
from prover_worker.release import Release
from unlearning.maskfile import parse_mask

_POLL_SECONDS: Final = 1.0
#: Each attempt opens a committed column at most twice, in two combinations; salt rows must stay ahead.
_OPENINGS_PER_ATTEMPT: Final = 2
_BLOCKS_PER_BATCH: Final = 16_384  # bounds the solver's memory


class Agent(Committing):
    """An enrolled client: steps 3 to 5."""

    # 3. claim

    def claim(self, order: dict[str, Any]) -> Folder:
        """Check an order against the log, compensate, log the claim. Returns the attempt's folder."""
        attempt = order["attempt"] + (order["state"] in {"issued", "rejected"})
        folder = self._attempt(order, attempt)
        if folder.has("claim.json"):
            return folder
        ledger, release = self._ledger(), self._release()
        self._expect_salt(folder, release.predicate.parameters.salt_rows)
        layout = self._layout(release)
        if not folder.has("mask.bin"):
            folder.write("mask.bin", self._checked_mask(ledger, order, layout))
        if not folder.has("solution.npz"):
            self._compensate(folder, layout)
        if not folder.has("solution.points"):
            self._commit_solution(folder, layout, release)
        for name in ("weights.points", "solution.points"):
            ledger.upload(folder.read(name))
        predicate = self._claim(folder, LogRef.model_validate(order["order"]), attempt)
        ref = ledger.submit(sign_statement(predicate, self._key))
        folder.write_json("claim.json", ref.model_dump())
        return folder

    def _attempt(self, order: dict[str, Any], attempt: int) -> Folder:
        """The folder of an attempt. The order's name is the server's word: it must be a UUID to become a path."""
        try:
            name = str(uuid.UUID(order["uuid"]))
        except ValueError as error:
            raise AgentError(
                f"the ledger sent {order['uuid']!r:.100} for an order's UUID; nothing was done"
            ) from error
        return self.state.sub("orders", name, str(int(attempt)))

    def _expect_salt(self, folder: Folder, salt_rows: int) -> None:
        """Every attempt at any order opens the committed columns again; salt rows must outnumber the openings."""
        others = {path.parent for path in self.state.path.glob("orders/*/*/claim.json")} - {folder.path}
        if (len(others) + 2) * _OPENINGS_PER_ATTEMPT > salt_rows:
            raise AgentError(
                f"{len(others)} attempts have opened this commitment; with {salt_rows} salt rows one more would "
                "give weights away: run `commit --anew` once no order is pending"
            )

    def _checked_mask(self, ledger: LedgerClient, order: dict[str, Any], layout: Layout) -> bytes:
        """The mask of an order that is ours, about our commitment, in the right sequence in the log."""
        ref = LogRef.model_validate(order["order"])
        said = ledger.provider_statement(ref, Order)
        committed = LogRef.model_validate(self.state.sub("commitment").read_json("logged.json"))
        if said.order != order["uuid"]:
            raise AgentError(
                f"the ledger calls order {said.order} by another name, {order['uuid']}; tell an auditor"
            )
        if said.client != self._client or said.commitment != committed:
            raise AgentError(f"order {order['uuid']} is not about what this client committed to; nothing was done")
        if not committed.index < said.mask.index < ref.index:
            raise AgentError(f"order {order['uuid']} uses a mask out of sequence: it must follow the commitment")
        mask = ledger.provider_statement(said.mask, Mask)
        data = ledger.download(mask.mask_sha256)
        total, indices = parse_mask(data)
        if total != layout.total or (len(indices), total) != (mask.masked, mask.total):
            raise AgentError(
                f"the mask file masks {len(indices)} of {total} weights; the log says {mask.masked} of "
                f"{mask.total}, and this model has {layout.total}: nothing was done"
            )
        return data

    def _compensate(self, folder: Folder, layout: Layout) -> None:
        """Integer Group-OBS on every touched chunk."""
        p = layout.parameters
        kept = self._commitment_arrays()
        masked = np.zeros(layout.chunks * layout.chunk_weights, dtype=bool)
        masked[parse_mask(folder.read("mask.bin"))[1]] = True
        touched = sorted(layout.masked_rows(np.flatnonzero(masked)))
        weights = np.stack([layout.blocks_of(kept["weights"], c) for c in touched])
        factors = np.stack([layout.factors_of(kept["factors"], c) for c in touched])
        mask = masked.reshape(layout.chunks, p.blocks, p.block_size)[touched]
        parts = []
        step = max(1, _BLOCKS_PER_BATCH // p.blocks)
        for start in range(0, len(touched), step):
            part = slice(start, start + step)
            parts.append(self.solve(weights[part], factors[part], mask[part], p.damping))
            self.report("compensating", min(start + step, len(touched)), len(touched))
        solved = [np.concatenate(column) for column in zip(*parts, strict=True)]
        folder.write("seed", secrets.token_bytes(32))
        folder.write_arrays(
            "solution.npz", touched=np.array(touched), **dict(zip(("weights", "v", "f", "e"), solved, strict=True))
        )

    def solve(
        self, weights: Integers, factors: Integers, mask: NDArray[np.bool_], damping: int
    ) -> Sequence[Integers]:
        """The prescribed operator: w', v, f, e for (chunks, blocks, ·) arrays."""
        import torch

        from unlearning import lattice

        lead = weights.shape[:2]
        w, g, m = (torch.from_numpy(a.reshape(-1, *a.shape[2:])) for a in (weights, factors, mask))
        return [part.numpy().reshape(*lead, -1) for part in lattice.solve(w, g, m, damping)]

    def _commit_solution(self, folder: Folder, layout: Layout, release: Release) -> None:
        """Points of the claim: chunks without a masked weight keep theirs."""
        solutions = self._solutions(folder)
        weights = commitments.split_records(
            self.state.sub("commitment").read("weights.points"), 1, layout.chunks, "committed weights"
        )
        records: dict[int, bytes] = {}
        tasks = ((release, layout, solution) for solution in solutions.values())
        order = list(solutions)
        for number, (weight, record) in pool.run(_commit_solution, tasks, self.jobs):
            weights[order[number]], records[order[number]] = weight, record
            self.report("committing to the solution", len(records), len(order))
        folder.write("weights.points", b"".join(weights))
        folder.write("solution.points", b"".join(records[c] for c in order))

    def _claim(self, folder: Folder, order: LogRef, attempt: int) -> Claim:
        weights, solution = folder.read("weights.points"), folder.read("solution.points")
        return Claim(
            order=order,
            client=self._client,
            attempt=attempt,
            weights_sha256=sha256(weights),
            weights_root=points_root(weights, 1),
            solution_sha256=sha256(solution),
            solution_root=points_root(solution, 2),
            other_tensors_sha256=self.state.sub("commitment").read_json("others.json")["sha256"],
        )

    # 4. prove

    def prove(self, order: dict[str, Any], folder: Folder) -> LogRef:
        """Prove every touched chunk under the challenge of this claim and submit the bundle."""
        if folder.has("proof.json"):
            return LogRef.model_validate(folder.read_json("proof.json"))
        ledger, release = self._ledger(), self._release()
        layout = self._layout(release)
        claim = LogRef.model_validate(folder.read_json("claim.json"))
        challenge_ref, note = self._checked_challenge(ledger, order, folder, claim)
        challenge = derive(
            release.predicate.parameters, ledger.open_note(note), claim.index, bytes.fromhex(claim.leaf_hash)
        )
        if not folder.has("bundle.bin"):
            self.report("making proving keys", 0, 1)
            release = release.with_keys(self.backend, self.cache)
            proofs = ProofFolder(folder.file(f"proofs-{challenge_ref.leaf_hash[:16]}"))
            folder.write("bundle.bin", format_bundle(self.make_bundle(folder, release, layout, challenge, proofs)))
        digest = ledger.upload(folder.read("bundle.bin"))
        predicate = Proof(claim=claim, challenge=challenge_ref, client=self._client, bundle_sha256=digest)
        ref = ledger.submit(sign_statement(predicate, self._key))
        folder.write_json("proof.json", ref.model_dump())
        return ref

    def make_bundle(
        self, folder: Folder, release: Release, layout: Layout, challenge: RandomElements, proofs: ProofFolder
    ) -> ProofBundle:
        """Prove every touched chunk and range group, and keep what it cost in figures.json."""
        rows = layout.masked_rows(parse_mask(folder.read("mask.bin"))[1])
        solutions = self._solutions(folder)
        secret = dict(enumerate(self._all_secrets(layout)))
        bundle, figures = prove_claim(
            self.backend,
            release,
            layout,
            sorted(rows),
            lambda c: ChunkWitness(secret[c], solutions[c], rows[c]),
            challenge,
            proofs,
            self.jobs,
            lambda done, total: self.report("proving", done, total),
        )
        size = len(format_bundle(bundle))
        folder.write_json("figures.json", asdict(figures) | {"bundle_bytes": size, "chunks": len(rows)})
        return bundle

    def _checked_challenge(
        self, ledger: LedgerClient, order: dict[str, Any], folder: Folder, claim: LogRef
    ) -> tuple[LogRef, str]:
        """The one challenge of this claim. Another one for the same claim is refused: it would open salt twice."""
        ref = LogRef.model_validate(order["challenge"]["ref"])
        said = ledger.provider_statement(ref, Challenge)
        ledger.accept_checkpoint(said.checkpoint)
        if said.claim != claim:
            raise AgentError(f"challenge {ref.index} is about another claim than ours at index {claim.index}")
        if folder.has("challenge.json") and LogRef.model_validate(folder.read_json("challenge.json")) != ref:
            raise AgentError(
                f"the ledger drew a second challenge for the claim at index {claim.index}; tell an auditor"
            )
        folder.write_json("challenge.json", ref.model_dump())
        return ref, said.checkpoint

    # 5. settle

    def unlearn(self, order_id: str, patience: float, *, again: bool = False) -> dict[str, Any]:
        """Steps 3 to 5 for one order, from wherever it stands. Returns the order with its verdict.

        A rejected order is left as it is unless `again` asks for a new attempt. Raises AgentError when the
        ledger does not answer within `patience` seconds; running again goes on.
        """
        ledger = self._ledger()
        order = ledger.order(order_id)
        if order["state"] == "met" or (order["state"] == "rejected" and not again):
            return order
        folder = self.claim(order)
        order = self._await(ledger, order_id, "challenge", patience)
        self.prove(order, folder)
        order = self._await(ledger, order_id, "verdict", patience)
        if order["verdict"]["result"] == "accepted":
            self.deploy(folder)
        return order

    def _await(self, ledger: LedgerClient, order_id: str, what: str, patience: float) -> dict[str, Any]:
        deadline = time.monotonic() + patience
        while (order := ledger.order(order_id))[what] is None:
            self.report(f"waiting for the {what}", 0, 1)
            if time.monotonic() > deadline:
                raise AgentError(f"no {what} within {patience:.0f} s; run the same command again later, it goes on")
            time.sleep(_POLL_SECONDS)
        return order

    def deploy(self, folder: Folder) -> Path:
        """Write the unlearned model, whose grid weights are exactly those that were proved."""
        import torch

        from unlearning import backbones, lattice

        release = self._release()
        layout, model = self._layout(release), self._model()
        flat = np.zeros(layout.chunks * layout.chunk_weights, dtype=np.int64)
        flat[: layout.total] = self._commitment_arrays()["weights"]
        rows = flat.reshape(layout.chunks, -1)
        for chunk, solution in self._solutions(folder).items():
            rows[chunk] = solution.weights.ravel()
        theta = lattice.from_grid(torch.from_numpy(flat[: layout.total]), release.predicate.parameters.grid_bits)
        state = backbones.load(self.state.sub("commitment").file("model.safetensors"))
        path = folder.file("unlearned.safetensors")
        backbones.save(path, backbones.unflatten(state, [target.name for target in model.targets], theta))
        return path

    def _solutions(self, folder: Folder) -> dict[int, ChunkSolution]:
        solved, seed = folder.read_arrays("solution.npz"), folder.read("seed")
        columns = zip(*(solved[name] for name in ("touched", "weights", "f", "v", "e")), strict=True)
        return {int(chunk): ChunkSolution(int(chunk), w, f, v, e, seed) for chunk, w, f, v, e in columns}


def _commit_solution(release: Release, layout: Layout, solution: ChunkSolution) -> tuple[bytes, bytes]:
    basis = curve.basis(release.relation.srs, layout.commit_rows)
    return commitments.commit_solution(basis, layout, solution, release.predicate.digit_base)
