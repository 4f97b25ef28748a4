"""Dishonest clients, for the demonstration and the tests: the agent with one step done wrong.

    python -m prover_worker.adversary --cheat MODE ...          (the agent's options and commands follow)

| mode | what the client does |
|---|---|
| skip | zeroes the masked weights, leaves the rest as it is, and lies about the residual e |
| keep | compensates, but keeps the masked weights of one block |
| nudge | does everything right, then shifts one weight by one grid step |
| swap | proves one chunk and hands in that proof for another one as well |
| idle | changes nothing at all and claims to have unlearned |
| plain | compensates without the forget directions, so that what was forgotten may come back |
| range | skips the compensation with the true residual, and hands in range proofs of other digits |

None of this is shipped to be used against anyone's ledger: all of it is public arithmetic, and what matters is
that every mode is rejected with the chunks named (docs/threat-model.md).
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prover_worker import agent, pool
from prover_worker.agent_state import Folder
from prover_worker.bundle import ProofBundle
from prover_worker.challenge import Challenge
from prover_worker.client import Agent
from prover_worker.layout import Integers, Layout
from prover_worker.prove import ProofFolder, prove_range
from prover_worker.release import Release

CHEATS: Final = ("skip", "keep", "nudge", "swap", "idle", "plain", "range")


class DishonestAgent(Agent):
    """An Agent that cheats in one way."""

    def __init__(self, *arguments: Any, cheat: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cheat = cheat

    def solve(
        self, weights: Integers, factors: Integers, mask: NDArray[np.bool_], damping: int,
        steered: tuple[Integers, Integers],
    ) -> Sequence[Integers]:  # fmt: skip
        """The prescribed operator, and then not quite."""
        rows, push = steered
        if self.cheat == "plain":
            steered = np.zeros_like(rows), np.zeros_like(push)
        new, v, f, e = (part.copy() for part in super().solve(weights, factors, mask, damping, steered))
        if self.cheat in {"skip", "range"}:
            v[:], f[:], new = 0, 0, np.where(mask, 0, weights)
            true = np.einsum("cbri,cbi->cbr", np.concatenate([factors, rows], 2), new - weights)
            true[:, :, factors.shape[2] :] -= push
            e = np.clip(true, -1000, 1000) if self.cheat == "skip" else true
        elif self.cheat == "keep":
            chunk, block = (int(axis[0]) for axis in np.nonzero(mask.any(axis=2)))
            new[chunk, block] = np.where(mask[chunk, block], weights[chunk, block], new[chunk, block])
        elif self.cheat == "nudge":
            chunk, block, weight = (int(axis[0]) for axis in np.nonzero(~mask))
            new[chunk, block, weight] += 1
        elif self.cheat == "idle":
            v[:], f[:], e[:], new = 0, 0, 0, weights
        return new, v, f, e

    def _expect_little_damage(self, folder: Folder, release: Release) -> None:
        """Who cheats does not care."""

    def make_bundle(
        self, folder: Folder, release: Release, layout: Layout, challenge: Challenge, proofs: ProofFolder
    ) -> ProofBundle:
        """Prove, with false range proofs slipped in before, or relation proofs swapped afterwards."""
        if self.cheat == "range":
            self._slip_in_range_proofs(folder, release, layout, challenge, proofs)
        bundle = super().make_bundle(folder, release, layout, challenge, proofs)
        if self.cheat == "swap":
            first, *_, last = bundle.relations
            return replace(bundle, relations={**bundle.relations, last: bundle.relations[first]})
        return bundle

    def _slip_in_range_proofs(
        self, folder: Folder, release: Release, layout: Layout, challenge: Challenge, proofs: ProofFolder
    ) -> None:
        """Range proofs of digits that are in range, because they are not those of the claim."""
        solutions = self._solutions(folder)
        for number, group in enumerate(layout.groups(challenge.drawn(sorted(solutions)))):
            tame = [replace(solutions[c], e=np.zeros_like(solutions[c].e)) for c in group]
            task = (self.backend, release, layout, tame)
            for _, (proof, _figures) in pool.run(prove_range, [task], 1):
                proofs.write("range", number, proof)


def main(arguments: Sequence[str] | None = None) -> int:
    """The agent's main, with a dishonest agent."""
    modes = argparse.ArgumentParser(prog="python -m prover_worker.adversary", add_help=False)
    modes.add_argument("--cheat", choices=CHEATS, required=True)
    chosen, rest = modes.parse_known_args(arguments)
    return agent.main(rest, functools.partial(DishonestAgent, cheat=chosen.cheat))


if __name__ == "__main__":
    sys.exit(main())
