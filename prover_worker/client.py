"""The client's side of the protocol, step by step, every step resumable.

1. enrol     register the key, pin the ledger's keys                            (committing.py)
2. commit    put the model on the grid, compute curvature, log Com(θp), Com(Cp)  (committing.py)
3. claim     verify an order, compensate, log Com(θu) and the commitments of the solution  (claiming.py)
4. prove     verify the challenge, prove every touched chunk, or those drawn
5. submit    upload the proofs, log their digest
6. deploy    once the verdict is accepted, write the unlearned model

`advance` takes one order through steps 3 to 6 as far as it goes without waiting; watching.py waits.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ledger.statements.predicates import Challenge, OrderObjection, Proof
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from prover_worker.agent_state import Folder
from prover_worker.bundle import ProofBundle, format_bundle
from prover_worker.challenge import Challenge as RandomElements
from prover_worker.challenge import derive
from prover_worker.claiming import Claiming
from prover_worker.drawing import checked_draw
from prover_worker.errors import AgentError
from prover_worker.layout import Layout
from prover_worker.ledger_client import LedgerClient
from prover_worker.prove import ChunkWitness, ProofFolder, prove_claim
from prover_worker.release import Release
from unlearning.maskfile import parse_mask

logger = logging.getLogger(__name__)

UNLEARN, PROVE, SUBMIT = "unlearn", "prove", "submit"
ALL: Final = frozenset({UNLEARN, PROVE, SUBMIT})
OPEN: Final = frozenset({"issued", "claimed", "challenged", "proved"})  # states in which an order goes on
UNLEARNED: Final = "unlearned.safetensors"


class Agent(Claiming):
    """An enrolled client: steps 4 to 6, and one order from wherever it stands."""

    def advance(
        self, order: dict[str, Any], steps: Collection[str] = ALL, *, again: bool = False
    ) -> tuple[dict[str, Any], str] | None:
        """Do the next thing for an order that can be done now; return the order as it is then, and what was done.

        None: nothing can be done now. A rejected order gets a new attempt only with `again`.
        """
        state, folder = order["state"], self.attempt_folder(order, order["attempt"])
        if state == "issued" or (state == "rejected" and again) or self._is_claim_unheard(order):
            return self._done(order, f"claimed, attempt {self._claimed(order)}") if UNLEARN in steps else None
        if self.awaits_deployment(order):
            return self._done(order, f"accepted; the model to deploy is {self.deploy(folder)}")
        if order["verdict"] is not None or order["challenge"] is None:
            return None
        if PROVE in steps and not folder.has("bundle.bin"):
            self.prove(order, folder)
            return self._done(order, "proved")
        if SUBMIT in steps and folder.has("bundle.bin") and not folder.has("proof.json"):
            return self._done(order, f"proof submitted at log index {self.submit(order, folder).index}")
        return None

    def has_work(self, order: dict[str, Any], steps: Collection[str]) -> bool:
        """Whether one of these steps has something to do or to say about an order, now or later."""
        state, folder = order["state"], self.attempt_folder(order, order["attempt"])
        if UNLEARN in steps:
            wanted = OPEN | {"rejected"} if SUBMIT in steps else {"issued", "rejected"}
            return state in wanted or self._is_claim_unheard(order) or self.awaits_deployment(order)
        if PROVE in steps:
            return state in {"claimed", "challenged"}
        return (state in OPEN and folder.has("bundle.bin")) or self.awaits_deployment(order)

    def awaits_deployment(self, order: dict[str, Any]) -> bool:
        """Whether an order was met and its unlearned model is not written yet."""
        folder = self.attempt_folder(order, order["attempt"])
        return order["state"] == "met" and folder.has("solution.npz") and not folder.has(UNLEARNED)

    def _is_claim_unheard(self, order: dict[str, Any]) -> bool:
        """Whether this attempt's claim was logged and the answer never came, so it is to be sent once more.

        The challenge may be there already: the provider draws it as soon as a claim is in the log.
        """
        folder = self.attempt_folder(order, order["attempt"])
        return order["state"] in {"claimed", "challenged"} and not folder.has("claim.json")

    def _claimed(self, order: dict[str, Any]) -> str:
        return self.claim(order).path.name

    def _done(self, order: dict[str, Any], what: str) -> tuple[dict[str, Any], str]:
        logger.info("order %s: %s", order["uuid"], what)
        return self._ledger().order(order["uuid"]), what

    # Instead of 3 to 6, if the client so chooses

    def object(self, order: dict[str, Any], reason: str) -> LogRef:
        """Log that this client does not obey an order, and why: a code, and nothing about model or data."""
        predicate = OrderObjection.model_validate(
            {
                "order": LogRef.model_validate(order["order"]),
                "client": self._client,
                "reason": reason,
                "objected_at": datetime.now(UTC),
            }
        )
        return self._ledger().submit(sign_statement(predicate, self._key))

    # 4. prove

    def prove(self, order: dict[str, Any], folder: Folder) -> None:
        """Make the proofs that the challenge of this claim asks for: the file bundle.bin."""
        if folder.has("bundle.bin"):
            return
        ledger, release = self._ledger(), self._release()
        layout = self._layout(release)
        claim = LogRef.model_validate(folder.read_json("claim.json"))
        challenge_ref, note = self._checked_challenge(ledger, order, folder, claim)
        challenge = derive(
            release.predicate.parameters,
            ledger.open_note(note),
            claim.index,
            bytes.fromhex(claim.leaf_hash),
            checked_draw(ledger, LogRef.model_validate(order["order"]), int(folder.path.name), challenge_ref),
        )
        self.report("making proving keys", 0, 1)
        release = release.with_keys(self.backend, self.cache)
        proofs = ProofFolder(folder.file(f"proofs-{challenge_ref.leaf_hash[:16]}"))
        folder.write("bundle.bin", format_bundle(self.make_bundle(folder, release, layout, challenge, proofs)))

    def make_bundle(
        self, folder: Folder, release: Release, layout: Layout, challenge: RandomElements, proofs: ProofFolder
    ) -> ProofBundle:
        """Prove every chunk to prove and its range group, and keep what it cost in figures.json."""
        rows = layout.masked_rows(parse_mask(folder.read("mask.bin"))[1])
        solutions, steered = self._solutions(folder), self._directions(folder, layout)
        secret_of = self._secrets_of(layout)
        jobs = self.fitting_jobs(release)
        bundle, figures = prove_claim(
            self.backend,
            release,
            layout,
            challenge.drawn(sorted(rows)),
            lambda c: ChunkWitness(secret_of(c), solutions[c], rows[c], steered.get(c)),
            challenge,
            proofs,
            jobs,
            self.report_proofs("proving", jobs),
            self.per_process,
            self.crew,
        )
        size = len(format_bundle(bundle))
        folder.write_json("figures.json", asdict(figures) | {"bundle_bytes": size, "chunks": len(bundle.relations)})
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

    # 5. submit

    def submit(self, order: dict[str, Any], folder: Folder) -> LogRef:
        """Upload the proofs and log their digest. Again after an interruption: the same statement."""
        if folder.has("proof.json"):
            return LogRef.model_validate(folder.read_json("proof.json"))
        ledger = self._ledger()
        claim = LogRef.model_validate(folder.read_json("claim.json"))
        challenge, _ = self._checked_challenge(ledger, order, folder, claim)
        digest = ledger.upload(folder.read("bundle.bin"))
        predicate = Proof(claim=claim, challenge=challenge, client=self._client, bundle_sha256=digest)
        ref = ledger.submit(sign_statement(predicate, self._key))
        folder.write_json("proof.json", ref.model_dump())
        return ref

    # 6. deploy

    def deploy(self, folder: Folder) -> Path:
        """Write the unlearned model, whose grid weights are exactly those that were proved."""
        from unlearning import backbones

        with folder.appearing(UNLEARNED) as path:
            backbones.save(path, self._unlearned_state(folder, self._release()))
        return folder.file(UNLEARNED)
