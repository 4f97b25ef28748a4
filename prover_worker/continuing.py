"""A later version of a client's model: what was set to zero stays zero, and the client proves it after committing.

1. what to keep     the ledger names the client's last commitment and the orders it has met; their masks make M
2. keep it          weights on M must be zero before anything is logged; factors are set to zero there, so that
                    later orders under this commitment leave M alone
3. show it          once the commitment is logged: await its challenge, prove, submit, await the verdict

Each step leaves a file in the commitment's folder and is not done twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.statements.predicates import (
    ContinuationChallenge,
    ContinuationProof,
    ContinuationVerdict,
    Mask,
    ModelRelease,
    Order,
    Verdict,
)
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from prover_worker import continuation
from prover_worker.agent_state import Folder
from prover_worker.challenge import derive_continuation
from prover_worker.client_base import ClientBase
from prover_worker.errors import AgentError, LedgerAway
from prover_worker.ledger_client import LedgerClient
from prover_worker.prove import ProofFolder

_POLL_SECONDS: Final = 1.0
LINE, ZEROS, PROOF, VERDICT = "line.json", "zeros.npz", "continuation.json", "continuation-verdict.json"


@dataclass(frozen=True)
class Line:
    """What a commitment continues (None: nothing), and the positions M that must stay zero, ascending."""

    continues: LogRef | None
    zeros: NDArray[np.int64]


#: A commitment that says nothing about those before it.
NOTHING: Final = Line(None, np.zeros(0, dtype=np.int64))


def line_of(ledger: LedgerClient, folder: Folder, client: str, model: LogRef, total: int) -> Line:
    """Step 1, kept in the folder. Raises AgentError where what the ledger names is not in the log as it says."""
    if not folder.has(LINE):
        said = ledger.line(model.index)
        masks = [_mask(ledger, client, model, one) for one in said["orders"]]
        folder.write_arrays(ZEROS, zeros=continuation.union(masks, total))
        folder.write_json(LINE, {"continues": said["continues"]})
    continues = folder.read_json(LINE)["continues"]
    zeros = folder.read_arrays(ZEROS)["zeros"]
    return Line(None if continues is None else LogRef.model_validate(continues), zeros)


def _mask(ledger: LedgerClient, client: str, model: LogRef, one: dict[str, Any]) -> bytes:
    """The mask of an order that the log calls met by this client on this model."""
    order_ref, mask_ref, verdict_ref = (LogRef.model_validate(one[name]) for name in ("order", "mask", "verdict"))
    order, mask = ledger.provider_statement(order_ref, Order), ledger.provider_statement(mask_ref, Mask)
    verdict = ledger.provider_statement(verdict_ref, Verdict)
    if (order.client, order.mask, mask.model, verdict.result) != (client, mask_ref, model, "accepted"):
        raise AgentError(f"log entry {order_ref.index} is no order that this client has met on this model")
    return ledger.download(mask.mask_sha256)


def keep_zeros(flat: NDArray[Any], zeros: NDArray[np.int64], model: ModelRelease, *, zero: bool) -> int:
    """Step 2 for grid weights, changed in place if `zero`: returns how many were not zero.

    Raises AgentError, naming them by tensor, if some are not and `zero` does not ask to set them.
    """
    off = zeros[flat[zeros] != 0]
    if len(off) and not zero:
        ends = np.cumsum([int(np.prod(target.shape)) for target in model.targets])
        counts = np.bincount(np.searchsorted(ends, off, side="right"), minlength=len(ends))
        where = ", ".join(f"{n} in {target.name}" for n, target in zip(counts, model.targets, strict=True) if n)
        raise AgentError(
            f"{len(off)} of {len(zeros)} weights that orders have set to zero are not zero any more "
            f"({where:.300}): train with them pinned, or use --zero to set them to zero now; nothing was logged"
        )
    flat[off] = 0
    return len(off)


def mute_factors(factors: NDArray[Any], zeros: NDArray[np.int64]) -> None:
    """Step 2 for factors of shape (blocks, r, B), changed in place: zero wherever a weight must stay zero."""
    size = factors.shape[2]
    factors[zeros // size, :, zeros % size] = 0


class Continuing(ClientBase):
    """Step 3."""

    def show_zeros(self, folder: Folder, ledger: LedgerClient, patience: float) -> None:
        """Prove that a logged commitment keeps its zeros, if it has some to show, and await the verdict.

        Raises AgentError when the ledger does not accept the proof, LedgerAway while it does not answer.
        """
        if not folder.has(LINE) or folder.has(VERDICT) or folder.read_json(LINE)["continues"] is None:
            return
        if not len(folder.read_arrays(ZEROS)["zeros"]):
            return
        commitment = LogRef.model_validate(folder.read_json("logged.json"))
        if not folder.has(PROOF):
            challenge_ref = LogRef.model_validate(self._answer(ledger, commitment, "challenge", patience))
            self._prove_zeros(folder, ledger, commitment, challenge_ref)
        ref = LogRef.model_validate(self._answer(ledger, commitment, "verdict", patience))
        verdict = ledger.provider_statement(ref, ContinuationVerdict)
        if verdict.commitment != commitment:
            raise AgentError(f"log entry {ref.index} judges another commitment than ours, {commitment.index}")
        if verdict.result != "accepted":
            reasons = "; ".join(f"chunk {one.chunk}: {one.reason}" for one in verdict.failures[:3])
            raise AgentError(
                f"the ledger does not accept that this model keeps its zeros ({reasons:.300}); the model is marked "
                "so and still gets orders; `commit --anew` makes another commitment"
            )
        folder.write_json(VERDICT, ref.model_dump())

    def _prove_zeros(self, folder: Folder, ledger: LedgerClient, commitment: LogRef, challenge_ref: LogRef) -> None:
        said = ledger.provider_statement(challenge_ref, ContinuationChallenge)
        ledger.accept_checkpoint(said.checkpoint)
        if said.commitment != commitment:
            raise AgentError(f"challenge {challenge_ref.index} is about another commitment than ours")
        _one_challenge(folder, challenge_ref)
        release = self._release()
        layout = self._layout(release)
        past, leaf = ledger.open_note(said.checkpoint), bytes.fromhex(commitment.leaf_hash)
        challenge = derive_continuation(layout.parameters, past, commitment.index, leaf)
        self.report("making proving keys", 0, 1)
        release = release.with_keys(self.backend, self.cache)
        jobs = self.fitting_jobs(release)
        data = continuation.prove(
            self.backend, release, layout, layout.masked_rows(folder.read_arrays(ZEROS)["zeros"]),
            self._secrets_of(layout), challenge, ProofFolder(folder.file(f"proofs-{challenge_ref.leaf_hash[:16]}")),
            jobs, self.report_proofs("proving that zeros were kept", jobs), self.per_process, self.crew,
        )  # fmt: skip
        digest = ledger.upload(data)
        proof = ContinuationProof(
            commitment=commitment, challenge=challenge_ref, client=self._client, bundle_sha256=digest
        )
        folder.write_json(PROOF, ledger.submit(sign_statement(proof, self._key)).model_dump())

    def _answer(self, ledger: LedgerClient, commitment: LogRef, what: str, patience: float) -> dict[str, Any]:
        """The reference to the ledger's next word about the commitment, once it is there."""
        deadline = time.monotonic() + patience
        while True:
            shown = (ledger.own_commitment(commitment.index)["continuation"] or {}).get(what)
            if shown is not None:
                return dict(shown)
            self.report(f"waiting for the {what} of the continuation", 0, 1)
            if time.monotonic() > deadline:
                raise LedgerAway(
                    f"the commitment is logged at index {commitment.index}; no {what} of its continuation within "
                    f"{patience:.0f} s: run the same command again later, it goes on"
                )
            time.sleep(_POLL_SECONDS)


def _one_challenge(folder: Folder, ref: LogRef) -> None:
    """A second challenge for the same commitment is refused: it would open the same salt again."""
    name = "continuation-challenge.json"
    if folder.has(name) and LogRef.model_validate(folder.read_json(name)) != ref:
        raise AgentError("the ledger drew a second challenge for this commitment; tell an auditor")
    folder.write_json(name, ref.model_dump())
