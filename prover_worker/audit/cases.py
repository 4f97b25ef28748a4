"""What a verification needs, collected from a bundle; and step 11, which needs no proof system."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from ledger.bundle import contents
from ledger.statements import predicates as kinds
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.circuit_release import ROLES
from ledger.tlog.checkpoint import Checkpoint
from prover_worker.audit.opening import Audit
from prover_worker.bundle import parse_bundle
from prover_worker.challenge import drawn_chunks
from prover_worker.continuation import ContinuationCase
from prover_worker.drawing import draw_of
from prover_worker.errors import AuditError
from prover_worker.layout import Layout, column_lengths
from prover_worker.release import Release
from prover_worker.verify import Case
from unlearning.errors import UnlearningError
from unlearning.maskfile import parse_mask


@dataclass
class Cases:
    """Collects cases; circuit releases are written out once each, below `folder`."""

    audit: Audit
    challenges: dict[int, Checkpoint]
    folder: Path
    _releases: dict[int, Release] = field(default_factory=dict)
    _touched: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    _layouts: dict[tuple[int, int], Layout] = field(default_factory=dict)  # by circuit and model release

    def claim(self, index: int, proof: kinds.Proof) -> Case:
        """That of the proof at `index`. Raises AuditError where something of it is missing."""
        audit, by = self.audit, f"proof {index}"
        claim = audit.get(proof.claim, kinds.Claim, by)
        order = audit.get(claim.order, kinds.Order, by)
        commitment = audit.get(order.commitment, kinds.ModelCommitment, by)
        mask = audit.get(order.mask, kinds.Mask, by)
        directions = mask.directions_sha256
        return Case(
            release=self._release(order.circuit, by),
            total=self._total(commitment, by),
            weights=audit.blob(commitment.weights_sha256, "committed weights"),
            curvature=audit.blob(commitment.curvature_sha256, "committed curvature"),
            other_tensors=commitment.other_tensors_sha256,
            mask=audit.blob(mask.mask_sha256, "the mask"),
            directions=None if directions is None else audit.blob(directions, "the forget directions"),
            claim_weights=audit.blob(claim.weights_sha256, "claimed weights"),
            solution=audit.blob(claim.solution_sha256, "the solution's points"),
            claim_other_tensors=claim.other_tensors_sha256,
            checkpoint=self._checkpoint(proof.claim, by),
            claim_index=proof.claim.index,
            claim_leaf=bytes.fromhex(proof.claim.leaf_hash),
            bundle=audit.blob(proof.bundle_sha256, "the proof bundle"),
            draw=draw_of(order, claim.attempt, audit.get(proof.challenge, kinds.Challenge, by)),
        )

    def continuation(self, proof: kinds.ContinuationProof, verdict: kinds.ContinuationVerdict) -> ContinuationCase:
        """That of a commitment that continues an unlearned model. Raises AuditError."""
        audit, by = self.audit, f"the continuation of commitment {proof.commitment.index}"
        held = audit.get(proof.commitment, kinds.ModelCommitment, by)
        masks = [audit.get(ref, kinds.Mask, by) for ref in verdict.masks]
        return ContinuationCase(
            release=self._release(held.circuit, by),
            total=self._total(held, by),
            weights=audit.blob(held.weights_sha256, "committed weights"),
            curvature=audit.blob(held.curvature_sha256, "committed curvature"),
            masks=[audit.blob(mask.mask_sha256, "an earlier mask") for mask in masks],
            checkpoint=self._checkpoint(proof.commitment, by),
            index=proof.commitment.index,
            leaf=bytes.fromhex(proof.commitment.leaf_hash),
            proofs=audit.blob(proof.bundle_sha256, "a continuation's proofs"),
        )

    def check_accepted(self, index: int, verdict: kinds.Verdict) -> None:
        """What an accepting verdict says, as far as mask, points and the list of proofs show it. Raises AuditError.

        Chunks that the mask does not touch keep their points, the chunks that were drawn are those that are proved.
        """
        audit, by = self.audit, f"verdict {index}"
        proof = audit.get(verdict.proof, kinds.Proof, by)
        claim = audit.get(proof.claim, kinds.Claim, by)
        order = audit.get(claim.order, kinds.Order, by)
        held = audit.get(order.commitment, kinds.ModelCommitment, by)
        layout, touched = self._layout(order.circuit, held, by), self._touched_by(order, held, by)
        draw = draw_of(order, claim.attempt, audit.get(proof.challenge, kinds.Challenge, by))
        leaf = bytes.fromhex(proof.claim.leaf_hash)
        drawn = drawn_chunks(touched, self._checkpoint(proof.claim, by), proof.claim.index, leaf, draw)
        counted = len(touched) if verdict.touched_chunks is None else verdict.touched_chunks
        _same((counted, verdict.proved_chunks, verdict.untouched_chunks),
              (len(touched), len(drawn), layout.chunks - len(touched)),
              f"{by} counts other chunks than the mask touches and the challenge draws")  # fmt: skip
        _same(claim.other_tensors_sha256, held.other_tensors_sha256,
              f"{by} accepts a claim in which a tensor outside the mask's targets changed")  # fmt: skip
        _check_kept_points(audit, held, claim, touched, by)
        if audit.manifest.proofs == "included":
            given = parse_bundle(audit.blob(proof.bundle_sha256, "the proof bundle"))
            _same(sorted(given.relations), drawn, f"{by} accepts proofs of other chunks than were drawn")
            _same(sorted(given.ranges), list(range(len(layout.groups(drawn)))),
                  f"{by} accepts other range proofs than are due")  # fmt: skip

    def _touched_by(self, order: kinds.Order, held: kinds.ModelCommitment, by: str) -> list[int]:
        """The chunks that an order's mask touches."""
        key = order.mask.index, order.circuit.index
        if key not in self._touched:
            mask = self.audit.get(order.mask, kinds.Mask, by)
            layout = self._layout(order.circuit, held, by)
            try:
                total, indices = parse_mask(self.audit.blob(mask.mask_sha256, "the mask"))
            except UnlearningError as error:
                raise AuditError(f"mask {order.mask.index} cannot be read: {error}") from error
            _same((total, mask.total), (layout.total,) * 2, f"mask {order.mask.index} is for another model")
            _same(len(indices), mask.masked, f"mask {order.mask.index} masks another number of weights than logged")
            self._touched[key] = sorted(layout.masked_rows(indices))
        return self._touched[key]

    def _layout(self, circuit: LogRef, held: kinds.ModelCommitment, by: str) -> Layout:
        key = circuit.index, held.model.index
        if key not in self._layouts:
            parameters = self.audit.get(circuit, kinds.CircuitRelease, by).parameters
            self._layouts[key] = Layout(parameters, self._total(held, by))
        return self._layouts[key]

    def _total(self, held: kinds.ModelCommitment, by: str) -> int:
        model = self.audit.get(held.model, kinds.ModelRelease, by)
        return sum(math.prod(target.shape) for target in model.targets)

    def _checkpoint(self, ref: LogRef, by: str) -> Checkpoint:
        if ref.index not in self.challenges:
            raise AuditError(f"{by} is about entry {ref.index}, which was not challenged")
        return self.challenges[ref.index]

    def _release(self, ref: LogRef, by: str) -> Release:
        if ref.index not in self._releases:
            circuit = self.audit.get(ref, kinds.CircuitRelease, by)
            self._releases[ref.index] = self._written(circuit, self.folder / str(ref.index))
        return self._releases[ref.index]

    def _written(self, circuit: kinds.CircuitRelease, folder: Path) -> Release:
        folder.mkdir()
        digests = circuit.file_digests()
        paths = {role: folder / role for role in ROLES}
        for role, path in paths.items():
            path.write_bytes(self.audit.blob(digests[role], f"the circuit release's {role}"))
        return Release.open(circuit, paths)


def check_masks(cases: Cases) -> None:
    """Step 11. Raises AuditError."""
    audit = cases.audit
    with audit.report.step("masks"):
        for _, circuit in audit.of(kinds.CircuitRelease):
            _expect_sane(circuit)
        accepted = [(index, said) for index, said in audit.of(kinds.Verdict) if said.result == "accepted"]
        for index, verdict in accepted:
            cases.check_accepted(index, verdict)
        if accepted:
            detail = f"{len(accepted)} accepting verdicts count the chunks that masks touch and draws ask for"
            audit.report.say("masks", detail)
        else:
            audit.report.say("masks", "no claim was accepted", "nothing to check")


def _expect_sane(circuit: kinds.CircuitRelease) -> None:
    """Parameters for which columns fit the circuit: whatever follows is bounded by its size."""
    p, rows = circuit.parameters, 1 << circuit.parameters.logrows
    if max(column_lengths(p).values()) > rows or p.range_group > rows:
        raise AuditError(f"the circuit release has columns of more than its 2^{p.logrows} rows: nothing fits it")


def _check_kept_points(
    audit: Audit, held: kinds.ModelCommitment, claim: kinds.Claim, touched: list[int], by: str
) -> None:
    before, after = (audit.container.members[contents.FILES + said.weights_sha256].size for said in (held, claim))
    _same(after, before, f"{by} accepts a claim about another number of chunks than was committed to")
    untouched = set(range(before // 32)) - set(touched)
    if untouched and held.weights_sha256 != claim.weights_sha256:
        _expect_kept(audit, held, claim, untouched, by)


def _expect_kept(
    audit: Audit, held: kinds.ModelCommitment, claim: kinds.Claim, untouched: set[int], by: str
) -> None:
    before, after = audit.blob(held.weights_sha256, "committed weights"), audit.blob(claim.weights_sha256, "claim")
    for chunk in sorted(untouched):
        if before[32 * chunk : 32 * chunk + 32] != after[32 * chunk : 32 * chunk + 32]:
            raise AuditError(f"{by} accepts a claim in which chunk {chunk} changed although none of it is masked")


def _same(got: object, wanted: object, otherwise: str) -> None:
    if got != wanted:
        raise AuditError(otherwise)
