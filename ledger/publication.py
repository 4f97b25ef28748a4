"""Publishing checkpoints: with witnesses, a head is published once a quorum of them has cosigned it.

1. Under the log's lock: propose. The head's size and root are stored and committed before anybody sees a signature
   on them, so no second root is ever signed for a size, whatever happens later.
2. Without lock and transaction: ask, all witnesses at once. A witness persists before it answers.
3. Each cosignature is checked and stored as it is found good.
4. Under the lock again: with a quorum the checkpoint is stored with its cosignature lines. From here on it counts:
   for challenges, bundles and everybody outside.

A crash between any two of these loses nothing: the next round (the sweep, every 15 seconds) proposes the head of
that moment and asks again. A witness that answered while we died is ahead of what we know; it says so (409), is
asked again from there and cosigns the same tree once more. Several processes may do all this at once.

Without witnesses a checkpoint is published as soon as it is signed.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from ledger import log
from ledger.log import NotCosignedError
from ledger.models import Checkpoint, CheckpointProposal, Cosignature, WitnessState
from ledger.witness import client
from ledger.witness.client import Kind, Outcome
from ledger.witness.policy import Policy, WitnessAddress

logger = logging.getLogger(__name__)

PATIENCE: Final = timedelta(seconds=15)  # after a failure; doubled after each further one
LONGEST_PATIENCE: Final = timedelta(minutes=5)
_ROUNDS: Final = 3  # a size learnt by 409 may be stale again by the time we ask
_HEADS: Final = 3  # a head may be overtaken by that of another process

State = WitnessState.State
_STATES: Final = {
    Kind.COSIGNED: State.COSIGNED,
    Kind.REFUSED: State.REFUSED,
    Kind.CONFLICT: State.REFUSED,
    Kind.WRONG_KEY: State.WRONG_KEY,
    Kind.UNREACHABLE: State.UNREACHABLE,
    Kind.NO_EXTENSION: State.FORK,
}


def policy() -> Policy:
    """The configured witnesses. Raises PolicyError."""
    return Policy.parse(settings.LEDGER_WITNESSES, settings.LEDGER_WITNESS_QUORUM)


def publish(*, insist: bool = False) -> Checkpoint:
    """Publish the head of the log, asking witnesses if there are any; `insist` asks those that failed just now too.

    Raises NotCosignedError, whose text says which witness did what, if there is no quorum; and RuntimeError
    inside a transaction, which would hold locks while witnesses are asked.
    """
    rules = policy()
    if not rules.witnesses:
        return log.publish_checkpoint()
    _expect_no_transaction()
    for _ in range(_HEADS):
        proposal = _propose()
        if not Checkpoint.objects.filter(size=proposal.size).exists():
            _collect(proposal, rules, insist=insist)
        published = _publish(proposal, rules)
        if published is not None:
            return published
        if log.size() == proposal.size:
            break
    raise NotCosignedError(_why(proposal, rules))


def ask_all() -> list[WitnessState]:
    """Ask every witness about the head, those too that have cosigned it before. Returns how it stands with each.

    For a database that may be an older copy: that it holds a witness's cosignature says nothing of what this
    witness has cosigned since. Raises RuntimeError inside a transaction.
    """
    rules = policy()
    _expect_no_transaction()
    if rules.witnesses:
        _collect(_propose(), rules, insist=True, everybody=True)
    return [_row(witness) for witness in rules.witnesses]


def try_to_publish() -> None:
    """Have the head cosigned where witnesses are configured, if that can be done now; else do nothing.

    For whoever is about to ask `ledger.log` for a published checkpoint under its lock.
    """
    if settings.LEDGER_WITNESSES:
        try:
            publish()
        except NotCosignedError as error:
            logger.info("%s", error)


def _expect_no_transaction() -> None:
    if connection.in_atomic_block:
        raise RuntimeError("witnesses are asked outside of transactions only: others would wait for the log's lock")


@transaction.atomic
def _propose() -> CheckpointProposal:
    """Step 1."""
    log.lock()
    size = log.size()
    known = CheckpointProposal.objects.filter(size=size).first()
    return known or CheckpointProposal.objects.create(size=size, root=log.root_at(size))


def _collect(proposal: CheckpointProposal, rules: Policy, *, insist: bool, everybody: bool = False) -> None:
    """Steps 2 and 3, until nobody is left to ask; `everybody`: those too that have cosigned this head."""
    note = log.sign_head(proposal.size, bytes(proposal.root))
    done = set() if everybody else set(proposal.cosignatures.values_list("vkey", flat=True))
    rows = [(witness, _row(witness)) for witness in rules.witnesses if witness.vkey not in done]
    asking = [(witness, min(row.size, proposal.size)) for witness, row in rows if insist or _due(row)]
    with ThreadPoolExecutor(len(rules.witnesses), "witness") as pool:
        for _ in range(_ROUNDS):
            proofs = [log.consistency(old, proposal.size) for _, old in asking]
            calls = [
                pool.submit(client.ask, witness, note, old, proof)
                for (witness, old), proof in zip(asking, proofs, strict=True)
            ]
            outcomes = [call.result() for call in calls]
            again = [
                (witness, _take(proposal, witness, old, outcome))
                for (witness, old), outcome in zip(asking, outcomes, strict=True)
            ]
            asking = [(witness, old) for witness, old in again if old is not None]


def _take(proposal: CheckpointProposal, witness: WitnessAddress, old: int, outcome: Outcome) -> int | None:
    """Store what a witness said. Returns the size to ask it again from, or None."""
    if outcome.kind is Kind.COSIGNED:
        Cosignature.objects.get_or_create(
            proposal=proposal, vkey=witness.vkey, defaults={"line": outcome.line, "time": outcome.time}
        )
        _note_state(witness, State.COSIGNED, "", size=proposal.size)
        return None
    if outcome.kind is not Kind.CONFLICT:
        message = outcome.message
        if outcome.kind is Kind.NO_EXTENSION:
            message = (
                f"the tree of {proposal.size} entries is no extension of the {old} that the witness cosigned: this "
                f"log was rewritten, or continued from an old copy ({message})"
            )
        _note_state(witness, _STATES[outcome.kind], message)
        return None
    return _take_conflict(proposal, witness, old, outcome.size)


def _take_conflict(proposal: CheckpointProposal, witness: WitnessAddress, old: int, size: int) -> int | None:
    """The witness says that it has cosigned `size` entries; we had asked from `old`."""
    if size > proposal.size:
        here = log.size()
        if size > here:
            message = f"the witness has cosigned {size} entries, this log has {here}: entries were lost"
            _note_state(witness, State.LOST, message)
        return None  # otherwise another process has gone further meanwhile: the next head is for it
    if size != old:
        WitnessState.objects.filter(pk=witness.vkey).update(size=size)
        return size
    if size == proposal.size:
        message = f"the witness has cosigned another tree of {size} entries: this log has two histories"
        _note_state(witness, State.FORK, message)
    else:
        _note_state(
            witness, State.REFUSED, f"the witness was asked from size {size} and answers with just that size"
        )
    return None


@transaction.atomic
def _publish(proposal: CheckpointProposal, rules: Policy) -> Checkpoint | None:
    """Step 4. None without a quorum; cosignatures of witnesses that are no longer configured do not count."""
    log.lock()
    known = Checkpoint.objects.filter(size=proposal.size).first()
    if known is not None:
        return known
    trusted = proposal.cosignatures.filter(vkey__in=[witness.vkey for witness in rules.witnesses])
    lines = list(trusted.order_by("vkey").values_list("line", flat=True))
    if len(lines) < rules.quorum:
        return None
    root = bytes(proposal.root)
    note = log.sign_head(proposal.size, root) + "".join(lines)
    return Checkpoint.objects.create(size=proposal.size, root=root, note=note)


def _row(witness: WitnessAddress) -> WitnessState:
    return WitnessState.objects.get_or_create(vkey=witness.vkey, defaults={"url": witness.url})[0]


def _due(row: WitnessState) -> bool:
    """Whether a witness that failed may be asked again: one that hangs would hold up the worker for ever."""
    if not row.failures or row.asked_at is None:
        return True
    wait = min(PATIENCE * 2 ** min(row.failures - 1, 10), LONGEST_PATIENCE)
    now = timezone.now()
    return now >= row.asked_at + wait or now < row.asked_at  # asked in the future: a clock was wrong


def _note_state(witness: WitnessAddress, state: WitnessState.State, message: str, size: int | None = None) -> None:
    row, now = _row(witness), timezone.now()
    changed = (row.state, row.message) != (state, message)
    row.url, row.state, row.message, row.asked_at = witness.url, state, message, now
    if state == State.COSIGNED:
        row.failures, row.cosigned_at = 0, now
    else:
        row.failures += 1
    row.size = row.size if size is None else size
    row.save()
    if changed and message:
        say = logger.critical if row.alarm else logger.warning
        say("witness %s: %s: %s", witness.name, row.get_state_display(), message)


def _why(proposal: CheckpointProposal, rules: Policy) -> str:
    done = set(proposal.cosignatures.values_list("vkey", flat=True))
    missing = [_row(witness) for witness in rules.witnesses if witness.vkey not in done]
    got = len(rules.witnesses) - len(missing)
    words = "; ".join(f"{row.name}: {row.message or row.get_state_display()}" for row in missing)
    return (
        f"the head of {proposal.size} entries is not published: "
        f"it has {got} cosignatures and needs {rules.quorum}. {words}"
    )
