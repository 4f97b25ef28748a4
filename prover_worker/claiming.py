"""A client's third step: check an order, compensate, measure what it does, and log the claim.

Nothing is logged before the compensated model was measured: an order that would damage the model beyond the
client's own limit is refused here, unless the client insists.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.statements.predicates import Claim
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from prover_worker import commitments, curve, damage, directing, pool
from prover_worker.agent_state import Folder
from prover_worker.client_base import ChunkFiles, points_root, sha256
from prover_worker.commitments import ChunkSolution
from prover_worker.committing import Committing
from prover_worker.damage import Damage
from prover_worker.directing import ChunkDirections
from prover_worker.errors import AgentError, LimitExceeded
from prover_worker.layout import Integers, Layout
from prover_worker.ledger_client import LedgerClient
from prover_worker.provider_checks import Committed, checked_order, lateness
from prover_worker.release import Release
from unlearning.maskfile import parse_mask

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

#: Each attempt opens a committed column at most twice, in two combinations; salt rows must stay ahead.
_OPENINGS_PER_ATTEMPT: Final = 2
DIRECTIONS: Final = "directions.bin"
_BLOCKS_PER_BATCH: Final = 16_384  # bounds the solver's memory


class Claiming(Committing):
    """Step 3."""

    def claim(self, order: dict[str, Any]) -> Folder:
        """Check an order against the log, compensate, log the claim. Returns the attempt's folder.

        Raises LimitExceeded, before anything is logged, for an order that the client's limit forbids.
        """
        attempt = order["attempt"] + (order["state"] in {"issued", "rejected"})
        folder = self.attempt_folder(order, attempt)
        if folder.has("claim.json"):
            return folder
        ledger, release = self._ledger(), self._release()
        self._expect_salt(folder, release.predicate.parameters.salt_rows)
        layout = self._layout(release)
        if not folder.has("mask.bin"):
            self._fetch_mask(folder, ledger, order, layout, release)
        if not folder.has("solution.npz"):
            self._compensate(folder, layout)
        self._expect_little_damage(folder, release)
        if not folder.has("solution.points"):
            self._commit_solution(folder, layout, release)
        for name in ("weights.points", "solution.points"):
            ledger.upload(folder.read(name))
        predicate = self._claim(folder, LogRef.model_validate(order["order"]), attempt)
        ref = ledger.submit(sign_statement(predicate, self._key))
        folder.write_json("claim.json", ref.model_dump())
        return folder

    def attempt_folder(self, order: dict[str, Any], attempt: int) -> Folder:
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
        others |= set(self.state.path.glob("commitment/continuation-challenge.json"))  # opens them as well
        if (len(others) + 2) * _OPENINGS_PER_ATTEMPT > salt_rows:
            raise AgentError(
                f"{len(others)} proofs have opened this commitment; with {salt_rows} salt rows one more would "
                "give weights away: run `commit --anew` once no order is pending"
            )

    def _fetch_mask(
        self, folder: Folder, ledger: LedgerClient, order: dict[str, Any], layout: Layout, release: Release
    ) -> None:
        """The mask of an order that holds in every way (provider_checks), and what the log says of it."""
        mine = Committed(
            client=self._client,
            ref=LogRef.model_validate(self.state.sub("commitment").read_json("logged.json")),
            model=self._model(),
            circuit=release.predicate,
            layout=layout,
        )
        checked = checked_order(ledger, order, mine)
        late = lateness(order, datetime.now(UTC))
        if late:
            logger.warning("%s", late)
        folder.write_json("mask.json", checked.mask.model_dump(mode="json", by_alias=True))
        if checked.directions_file is not None:
            folder.write(DIRECTIONS, checked.directions_file)
        folder.write("mask.bin", checked.mask_file)  # last: its presence means that both are there

    def _expect_little_damage(self, folder: Folder, release: Release) -> None:
        """Measure the compensated model once; refuse what the limit forbids. Forced or not is recorded."""
        kept = self.state.sub("commitment")
        if not kept.has(damage.KEPT):
            logger.warning("this commitment kept no samples, so the order's damage was not measured")
            return
        if folder.has("damage.json"):
            found = Damage(**{name: folder.read_json("damage.json")[name] for name in Damage.__annotations__})
        else:
            self.report("measuring the unlearned model", 0, 1)
            found = self.measure_damage(folder, release)
        limit = self.limits.max_drop
        over = limit is not None and found.drop > limit
        record = found.record() | {"maxDrop": limit, "forced": over and self.limits.force}
        folder.write_json("damage.json", record)
        logger.info("%s", found.sentence())
        if over and not self.limits.force:
            raise LimitExceeded(
                f"{found.sentence()}; the limit is {limit:g}, so nothing was claimed: `unlearn --force` obeys "
                "the order all the same, `--max-drop` moves the limit, `object` tells the provider"
            )

    def measure_damage(self, folder: Folder, release: Release) -> Damage:
        """The committed and the compensated model on the samples kept at commitment."""
        from unlearning import backbones

        kept = self.state.sub("commitment")
        recipe = folder.read_json("mask.json")["recipe"] if folder.has("mask.json") else {}
        return damage.measure(
            self._model().architecture,
            backbones.load(kept.file("model.safetensors")),
            self._unlearned_state(folder, release),
            kept.file(damage.KEPT),
            damage.forgotten_classes(recipe),
        )

    def _unlearned_state(self, folder: Folder, release: Release) -> dict[str, torch.Tensor]:
        """The unlearned model's tensors, whose grid weights are exactly those of the claim."""
        import torch

        from unlearning import backbones, lattice

        layout, model = self._layout(release), self._model()
        flat = np.zeros(layout.chunks * layout.chunk_weights, dtype=np.int64)
        flat[: layout.total] = self._commitment_arrays()["weights"]
        rows = flat.reshape(layout.chunks, -1)
        for chunk, solution in self._solutions(folder).items():
            rows[chunk] = solution.weights.ravel()
        theta = lattice.from_grid(torch.from_numpy(flat[: layout.total]), release.predicate.parameters.grid_bits)
        state = backbones.load(self.state.sub("commitment").file("model.safetensors"))
        return backbones.unflatten(state, [target.name for target in model.targets], theta)

    def _compensate(self, folder: Folder, layout: Layout) -> None:
        """Integer Group-OBS on every touched chunk, with forget directions where the order has some."""
        p = layout.parameters
        kept = self._commitment_arrays()
        masked = np.zeros(layout.chunks * layout.chunk_weights, dtype=bool)
        masked[parse_mask(folder.read("mask.bin"))[1]] = True
        touched = sorted(layout.masked_rows(np.flatnonzero(masked)))
        weights = np.stack([layout.blocks_of(kept["weights"], c) for c in touched])
        factors = np.stack([layout.factors_of(kept["factors"], c) for c in touched])
        mask = masked.reshape(layout.chunks, p.blocks, p.block_size)[touched]
        steered = self._directions(folder, layout)
        rows, push = directing.stacked([steered.get(c) for c in touched], p)
        parts = []
        step = max(1, _BLOCKS_PER_BATCH // p.blocks)
        for start in range(0, len(touched), step):
            part = slice(start, start + step)
            parts.append(self.solve(weights[part], factors[part], mask[part], p.damping, (rows[part], push[part])))
            self.report("compensating", min(start + step, len(touched)), len(touched))
        solved = [np.concatenate(column) for column in zip(*parts, strict=True)]
        folder.write("seed", secrets.token_bytes(32))
        folder.write_arrays(
            "solution.npz", touched=np.array(touched), **dict(zip(("weights", "v", "f", "e"), solved, strict=True))
        )

    def solve(
        self, weights: Integers, factors: Integers, mask: NDArray[np.bool_], damping: int,
        steered: tuple[Integers, Integers],
    ) -> Sequence[Integers]:  # fmt: skip
        """The prescribed operator: w', v (and μ), f, e (and slack) for (chunks, blocks, ·) arrays.

        `steered`: rows and push of the forget directions, q of each in every block.
        """
        import torch

        from unlearning import lattice
        from unlearning.obs import Directions

        lead = weights.shape[:2]
        flat = (a.reshape(lead[0] * lead[1], *a.shape[2:]) for a in (weights, factors, mask, *steered))
        w, g, m, u, c = (torch.from_numpy(a) for a in flat)
        made = lattice.solve_directed(w, g, m, damping, Directions(u, c, damping))
        both = made.w_new, torch.cat([made.v, made.mu], 1), made.f, torch.cat([made.e, made.slack], 1)
        return [part.numpy().reshape(*lead, -1) for part in both]

    def _directions(self, folder: Folder, layout: Layout) -> dict[int, ChunkDirections]:
        """The order's forget directions by chunk, as they were checked with its mask."""
        data = folder.read(DIRECTIONS) if folder.has(DIRECTIONS) else None
        return directing.read(data, folder.read("mask.bin"), layout)

    def _commit_solution(self, folder: Folder, layout: Layout, release: Release) -> None:
        """Points of the claim: chunks without a masked weight keep theirs."""
        solutions = self._solutions(folder)
        weights = commitments.split_records(
            self.state.sub("commitment").read("weights.points"), 1, layout.chunks, "committed weights"
        )
        made = ChunkFiles(folder.sub("points"))
        missing = [chunk for chunk in solutions if not made.has(chunk)]
        tasks = ((release, layout, solutions[chunk]) for chunk in missing)
        done = len(solutions) - len(missing)
        self.report("committing to the solution", done, len(solutions), self.jobs)
        for number, (weight, record) in pool.run(_commit_solution, tasks, self.jobs) if missing else ():
            made.write(missing[number], weight + record)
            done += 1
            self.report("committing to the solution", done, len(solutions), self.jobs)
        for chunk in solutions:
            weights[chunk] = made.read(chunk)[: curve.POINT_BYTES]
        folder.write("weights.points", b"".join(weights))
        folder.write("solution.points", b"".join(made.read(chunk)[curve.POINT_BYTES :] for chunk in solutions))
        made.clear()

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

    def _solutions(self, folder: Folder) -> dict[int, ChunkSolution]:
        solved, seed = folder.read_arrays("solution.npz"), folder.read("seed")
        columns = zip(*(solved[name] for name in ("touched", "weights", "f", "v", "e")), strict=True)
        return {int(chunk): ChunkSolution(int(chunk), w, f, v, e, seed) for chunk, w, f, v, e in columns}


def _commit_solution(release: Release, layout: Layout, solution: ChunkSolution) -> tuple[bytes, bytes]:
    basis = curve.basis(release.relation.srs, layout.commit_rows)
    return commitments.commit_solution(basis, layout, solution, release.predicate.digit_base)
