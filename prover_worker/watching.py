"""Carrying orders out: some now, or all as they come.

Both ask the ledger where an order stands, do what can be done, and wait for news where nothing can. Whatever
ends them, the next run goes on from the files that are there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.statements.errors import StatementError
from ledger.tlog.errors import TlogError
from prover_worker.client import ALL, OPEN, PROVE, SUBMIT, UNLEARN, Agent
from prover_worker.errors import LedgerAway, LimitExceeded, ProverError
from unlearning.errors import UnlearningError

logger = logging.getLogger(__name__)

_POLL_FIRST, _POLL_LONGEST = 0.5, 15.0
_WAIT: Final = 25  # seconds that the ledger may take to answer
_HOLD_FIRST, _HOLD_LONGEST = 60.0, 3600.0
_WRONG: Final = (ProverError, UnlearningError, StatementError, TlogError, OSError)

Json = dict[str, Any]


@dataclass
class Outcome:
    """How far an order came: as the ledger shows it, or why it did not go on."""

    order: Json
    error: Exception | None = None


def carry_out(
    agent: Agent, orders: Collection[str], steps: Collection[str] = ALL, *, patience: float, again: bool = False
) -> list[Outcome]:
    """Take the named orders through the steps and return once each has finished them, or cannot go on.

    An order that failed does not keep the others waiting. Raises LedgerAway when nothing has moved for `patience`
    seconds: the same call goes on later.
    """
    outcomes = {uuid: Outcome(agent.order(uuid)) for uuid in orders}
    retry = {uuid for uuid in orders if again}
    pause = Pause(patience)
    while True:
        moved = False
        for uuid, outcome in outcomes.items():
            if outcome.error is not None or _finished(agent, outcome.order, steps, uuid in retry):
                continue
            try:
                step = agent.advance(outcome.order, steps, again=uuid in retry)
            except LedgerAway:
                raise
            except _WRONG as error:
                logger.error("order %s: %s", uuid, error)  # noqa: TRY400 - the sentence says it; details at debug
                logger.debug("order %s", uuid, exc_info=True)
                outcome.error = error
                continue
            if step is not None:
                outcome.order, moved = step[0], True
                retry.discard(uuid)
        waiting = [
            uuid
            for uuid, outcome in outcomes.items()
            if outcome.error is None and not _finished(agent, outcome.order, steps, uuid in retry)
        ]
        if not waiting:
            return list(outcomes.values())
        if moved:
            pause.reset()
            continue
        pause.take(agent, waiting)
        for uuid in waiting:
            outcomes[uuid].order = agent.order(uuid)


def _finished(agent: Agent, order: Json, steps: Collection[str], again: bool) -> bool:
    """Whether an order has nothing left of these steps."""
    state, folder = order["state"], agent.attempt_folder(order, order["attempt"])
    if state == "rejected":
        return not again
    if state not in OPEN:
        return state != "met" or not agent.awaits_deployment(order)
    if SUBMIT in steps:
        return False
    if PROVE in steps:
        return folder.has("bundle.bin")
    return UNLEARN in steps and state != "issued" and folder.has("claim.json")


class Pause:
    """Waiting for news of orders, with growing breaks; `patience` seconds in all, from the last reset."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.reset()

    def reset(self) -> None:
        """Something has happened."""
        self._deadline, self._next = time.monotonic() + self._patience, _POLL_FIRST

    def take(self, agent: Agent, waiting: Collection[str]) -> None:
        """Wait a little. Raises LedgerAway at the end of the patience."""
        if time.monotonic() > self._deadline:
            raise LedgerAway(
                f"nothing new about {len(waiting)} open orders within {self._patience:.0f} s; run the same command "
                "again later, it goes on"
            )
        agent.report("waiting for the ledger", 0, 1)
        time.sleep(self._next)
        self._next = min(_POLL_LONGEST, self._next * 1.5)


class Bell:
    """Waiting until the ledger says that something has happened; by growing breaks where it cannot say."""

    def __init__(self) -> None:
        self._after, self._rings = 0, True
        self._pause = Pause(float("inf"))

    def wait(self, agent: Agent, waiting: Collection[str]) -> None:
        """Return when there may be news. Raises LedgerAway."""
        began = time.monotonic()
        news = agent.news(self._after, _WAIT) if self._rings else None
        self._rings = news is not None
        if news is not None and news.last > self._after:
            self._after = news.last
            self._pause.reset()
        elif news is not None and news.again is not None:
            time.sleep(max(_POLL_FIRST, news.again))
        elif time.monotonic() - began < _POLL_FIRST:  # it did not wait, so we do
            self._pause.take(agent, waiting)


@dataclass
class _Held:
    """Orders that failed and are tried again after a while."""

    until: dict[str, float] = field(default_factory=dict)
    pause: dict[str, float] = field(default_factory=dict)

    def hold(self, uuid: str, forever: bool = False) -> None:
        pause = min(_HOLD_LONGEST, self.pause.get(uuid, _HOLD_FIRST / 2) * 2)
        self.pause[uuid] = pause
        self.until[uuid] = float("inf") if forever else time.monotonic() + pause

    def holds(self, uuid: str) -> bool:
        return time.monotonic() < self.until.get(uuid, 0.0)


def watch(agent: Agent, say: Callable[[str], None]) -> None:
    """Carry out every order as it comes, for ever: until an exception from outside, such as a signal, ends it.

    A ledger that is away is asked again; an order that fails is said, and tried again later; one that the
    client's limit forbids, or that was rejected, is said once and left to a person.
    """
    held, said, bell = _Held(), set[str](), Bell()
    while True:
        try:
            orders = agent.orders()
            moved = [_watch_one(agent, order, held, said, say) for order in orders]
            if not any(moved):
                agent.report("waiting for the ledger", 0, 1)
                bell.wait(agent, [order["uuid"] for order in orders if order["state"] in OPEN])
        except LedgerAway as away:
            logger.warning("%s", away)
            time.sleep(max(_POLL_FIRST, away.retry_after or 0.0))
            continue


def _watch_one(agent: Agent, order: Json, held: _Held, said: set[str], say: Callable[[str], None]) -> bool:
    uuid = order["uuid"]
    if order["state"] == "rejected" and f"{uuid}/{order['attempt']}" not in said:
        said.add(f"{uuid}/{order['attempt']}")
        say(f"order {uuid}: attempt {order['attempt']} was rejected; `run --again` makes another one")
    if held.holds(uuid):
        return False
    try:
        step = agent.advance(order)
    except LedgerAway:
        raise
    except LimitExceeded as error:
        say(f"order {uuid}: refused: {error}")
        held.hold(uuid, forever=True)
        return False
    except _WRONG as error:
        say(f"order {uuid}: {error}")
        logger.debug("order %s", uuid, exc_info=True)
        held.hold(uuid)
        return False
    if step is None:
        return False
    say(f"order {uuid}: {step[1]}")
    return True
