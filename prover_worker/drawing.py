"""Which chunks a claim must prove, from what the log says: order, claim, challenge."""

from __future__ import annotations

import hashlib

from ledger.statements.coverage import FULL, of_attempt
from ledger.statements.predicates import Challenge, Order
from ledger.statements.predicates.base import LogRef
from prover_worker.challenge import EVERYTHING, Draw
from prover_worker.errors import AgentError
from prover_worker.provider_checks import Log


def draw_of(order: Order, attempt: int, challenge: Challenge) -> Draw:
    """What an attempt at `order` must prove. The statements belong together and have passed the rules."""
    coverage = of_attempt(order.coverage, attempt)
    if coverage == FULL:
        return EVERYTHING
    return Draw(coverage, bytes.fromhex(challenge.draw_secret or ""))


def checked_draw(ledger: Log, order: LogRef, attempt: int, challenge: LogRef) -> Draw:
    """The same for a client's own attempt. Raises AgentError where the provider was bound to another secret."""
    ordered, drawn = ledger.provider_statement(order, Order), ledger.provider_statement(challenge, Challenge)
    draw = draw_of(ordered, attempt, drawn)
    if draw is not EVERYTHING and hashlib.sha256(draw.secret).hexdigest() != ordered.draw_sha256:
        raise AgentError(
            f"challenge {challenge.index} discloses another secret than order {order.index} was bound to: the "
            "provider has chosen which chunks to ask for; tell an auditor"
        )
    return draw
