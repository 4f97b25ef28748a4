"""What orders, challenges, verdicts and certificates must say about coverage, by those before them.

Part of `ledger.statements.rules`, which has fetched the statements that each one refers to.
"""

from __future__ import annotations

import hashlib

from ledger.statements import coverage
from ledger.statements.errors import PolicyError, same_value
from ledger.statements.predicates import Challenge, Claim, Order, Verdict


def check_order(order: Order, index: int) -> None:
    """An order for a sample binds the provider to its part of the draw, before any claim. Raises RuleError."""
    sampled = order.coverage != coverage.FULL
    if sampled != (order.draw_sha256 is not None):
        got = "no" if sampled else "a"
        raise PolicyError(f"order {index} asks for {order.coverage} coverage and has {got} drawSha256")


def check_challenge(challenge: Challenge, claim: Claim, order: Order, index: int) -> None:
    """Where a sample is drawn, the challenge discloses what its order was bound to. Raises RuleError."""
    by = f"challenge {index}"
    if coverage.of_attempt(order.coverage, claim.attempt) == coverage.FULL:
        if challenge.draw_secret is not None:
            raise PolicyError(f"{by} discloses a drawSecret, but every touched chunk must be proved")
        return
    if challenge.draw_secret is None:
        raise PolicyError(
            f"{by} lacks the drawSecret: order {claim.order.index} asks for {order.coverage} coverage"
        )
    if hashlib.sha256(bytes.fromhex(challenge.draw_secret)).hexdigest() != order.draw_sha256:
        raise PolicyError(f"the drawSecret of {by} is not the one that order {claim.order.index} was bound to")


def check_verdict(verdict: Verdict, claim: Claim, order: Order, index: int) -> None:
    """A verdict's coverage is its attempt's, and its figures follow from what was proved. Raises RuleError."""
    by = f"verdict {index}"
    due = coverage.of_attempt(order.coverage, claim.attempt)
    if verdict.coverage != due:
        raise PolicyError(
            f"{by} is about {verdict.coverage} coverage, but attempt {claim.attempt} is held to {due}"
        )
    if verdict.touched_chunks is None:
        if due != coverage.FULL and verdict.result == "accepted":
            raise PolicyError(f"{by} accepts a sample and does not say of how many chunks")
        same_value(verdict.detection, "1", f"{by}: detection")
        return
    if verdict.touched_chunks > coverage.MAX_CHUNKS:
        raise PolicyError(f"{by} counts {verdict.touched_chunks} chunks, more than {coverage.MAX_CHUNKS}")
    wanted = coverage.proofs_due(due, verdict.touched_chunks)
    same_value(verdict.proved_chunks, wanted, f"{by}: provedChunks")
    same_value(verdict.detection, coverage.detection(verdict.touched_chunks, wanted), f"{by}: detection")
    caught = [(one.chance, one.chunks) for one in verdict.caught]
    same_value(caught, figures(due, verdict.touched_chunks), f"{by}: caught")


def figures(due: str, touched: int) -> list[tuple[str, int]]:
    """For each of LEVELS, how many dishonest chunks a sample catches with that chance; nothing at full coverage."""
    if due == coverage.FULL or not touched:
        return []
    drawn = coverage.proofs_due(due, touched)
    return [(level, coverage.caught_with(touched, drawn, level)) for level in coverage.LEVELS]
