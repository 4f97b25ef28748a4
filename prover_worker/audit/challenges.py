"""Step 9: where random elements come from, and which chunks they ask for."""

from __future__ import annotations

from ledger.statements import predicates as kinds
from ledger.statements.order_rules import check_challenge_size
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import Quorum
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import verify_consistency
from prover_worker.audit.opening import Audit
from prover_worker.errors import AuditError

Drawn = kinds.Challenge | kinds.ContinuationChallenge


def check_challenges(audit: Audit) -> dict[int, Checkpoint]:
    """Returns the checkpoint of each challenged claim or commitment by its log index. Raises AuditError."""
    with audit.report.step("challenges"):
        drawn: list[tuple[int, Drawn]] = [*audit.of(kinds.Challenge), *audit.of(kinds.ContinuationChallenge)]
        known: dict[str, Checkpoint] = {}
        found: dict[int, Checkpoint] = {}
        for index, challenge in drawn:
            if challenge.checkpoint not in known:
                known[challenge.checkpoint] = _past(audit, index, challenge.checkpoint)
            past = known[challenge.checkpoint]
            check_challenge_size(index, challenge, past.size)
            about = challenge.claim if isinstance(challenge, kinds.Challenge) else challenge.commitment
            found[about.index] = past
        if drawn:
            audit.report.say("challenges", f"all {len(drawn)} follow from signed checkpoints of this log")
        else:
            audit.report.say("challenges", "nothing was claimed", "nothing to check")
        return found


def _past(audit: Audit, index: int, note: str) -> Checkpoint:
    """A challenge's checkpoint, if it is a past of the bundle's."""
    try:
        past = audit.later.open_checkpoint(note, audit.head.origin)
        Quorum(audit.trust.quorum.witnesses).check(note)  # older than a witness, perhaps; never wrong
        nodes = audit.consistency.get(past.size, [])
        verify_consistency(past.size, past.root, audit.head.size, audit.head.root, nodes)
    except TlogError as error:
        raise AuditError(f"the checkpoint of challenge {index} does not check out: {error}") from error
    return past
