"""The client's command line, `unlearning-agent` (or `python -m prover_worker.agent`).

    unlearning-agent --state DIR enrol --server URL --client UUID --token TOKEN
    unlearning-agent --state DIR enrol --replace --token TOKEN
    unlearning-agent --state DIR commit --weights model.safetensors --data data.npz
    unlearning-agent --state DIR keys list | add | rotate | revoke | use
    unlearning-agent --state DIR status
    unlearning-agent --state DIR run [--order UUID]          unlearn, prove and submit in one go
    unlearning-agent --state DIR unlearn | prove | submit    one step
    unlearning-agent --state DIR watch                       stay, and carry out every order as it comes
    unlearning-agent --state DIR object --order UUID --reason CODE
    unlearning-agent --state DIR support-bundle

Every command can be interrupted and run again; it goes on where it stopped. Exit status: 0 done; 1 an order was
rejected; 2 something is wrong and the one line on stderr says what; 3 an order was refused, because it would
damage the model beyond the client's limit; 4 the ledger is away or has not answered yet, try again later;
130, 143 ended by Ctrl-C, SIGTERM (`watch`: 0).
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Final

from rich.console import Console
from rich.table import Table

from ledger.statements.errors import StatementError
from ledger.tlog.errors import TlogError
from prover_worker import support
from prover_worker.agent_hold import check_schema, held
from prover_worker.agent_log import logging_to, versions
from prover_worker.agent_parser import parser
from prover_worker.agent_progress import reporter
from prover_worker.agent_state import Folder
from prover_worker.backend import Backend
from prover_worker.client import ALL, PROVE, SUBMIT, UNLEARN, Agent
from prover_worker.client_base import Report
from prover_worker.crew import Crew
from prover_worker.damage import Limits
from prover_worker.errors import AgentError, LedgerAway, LimitExceeded, ProverError
from prover_worker.memory import balance
from prover_worker.profiles import PROFILES, STEADY
from prover_worker.watching import Outcome, carry_out, watch
from prover_worker.work_folder import Site
from unlearning.errors import UnlearningError

logger = logging.getLogger("prover_worker.agent")  # __name__ is "__main__" under python -m

DONE, REJECTED, WRONG, REFUSED, AWAY = range(5)
_STEPS: Final = {"unlearn": {UNLEARN}, "prove": {PROVE}, "submit": {SUBMIT}, "run": ALL}
_READING: Final = frozenset({"status", "support-bundle"})  # beside an agent that works in the folder
_PROVING: Final = frozenset({"commit", "watch", *_STEPS})


class Terminated(BaseException):
    """SIGTERM. Not an Exception: nobody but `main` shall catch it."""


def main(arguments: Sequence[str] | None = None, make_agent: Callable[..., Agent] = Agent) -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args(arguments)
    os.umask(0o077)  # keys, salt and weights are nobody else's business
    try:
        with _terminable(), ExitStack() as stack:
            _enter(stack, options)
            report = stack.enter_context(reporter(options.progress))
            status, lines = _logged(lambda: _run(make_agent, options, report))
    except (ProverError, UnlearningError, StatementError, TlogError, OSError) as error:
        print(f"agent: {error}", file=sys.stderr)
        return _status_of(error)
    except MemoryError:
        print(
            f"agent: no memory is left ({balance(None)} now); run the same command again to go on", file=sys.stderr
        )
        return WRONG
    except Exception as error:  # noqa: BLE001 - the log has all of it
        print(f"agent: unexpected {type(error).__name__}: {error}; see `support-bundle`", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("agent: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except Terminated:
        print("agent: stopped; run the same command again to go on", file=sys.stderr)
        return DONE if options.command == "watch" else 143
    for line in lines:  # after the bars are gone: they own the terminal while they live
        print(line)
    return status


def _enter(stack: ExitStack, options: argparse.Namespace) -> None:
    """Take the folder and open the log; commands that only read do neither."""
    folder = Folder(options.state)
    if options.command in _READING:
        check_schema(folder)
        return
    stack.enter_context(held(folder, options.command))
    stack.enter_context(logging_to(folder, options.log_level))
    logger.info("%s: %s", options.command, ", ".join(f"{name} {text}" for name, text in versions().items()))


def _logged(function: Callable[[], tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """Run a command; however it ends stands in the log."""
    try:
        status, lines = function()
    except (Terminated, KeyboardInterrupt):
        logger.info("stopped by a signal")
        raise
    except BaseException as error:
        logger.exception("ended by %s", type(error).__name__)
        raise
    logger.info("ended with status %d", status)
    return status, lines


def _status_of(error: Exception) -> int:
    if isinstance(error, LedgerAway):
        return AWAY
    return REFUSED if isinstance(error, LimitExceeded) else WRONG


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises Terminated while the block runs."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(make_agent: Callable[..., Agent], options: argparse.Namespace, report: Report) -> tuple[int, list[str]]:
    if options.command == "support-bundle":
        return DONE, [f"wrote {support.write_bundle(Folder(options.state), options.out)}; it holds no secrets"]
    backend: Backend | None = None
    if options.command in _PROVING:
        from prover_worker.ezkl_backend import EzklBackend

        backend = EzklBackend()
    limits = Limits(getattr(options, "max_drop", None), getattr(options, "force", False))
    profile = PROFILES.get(options.profile, STEADY)
    profile.apply()
    jobs = profile.jobs if options.jobs is None else options.jobs
    agent = make_agent(
        options.state, backend, jobs, options.cache, report, limits, per_process=profile.proofs_per_process,
        crew=_crew(options, backend) if options.workers and backend else None,
    )  # fmt: skip
    if options.command in _TELLING:
        return DONE, _TELLING[options.command](agent, options)
    if options.command == "watch":
        watch(agent, _say)
    return _carry_out(agent, options)


def _crew(options: argparse.Namespace, backend: Backend) -> Crew:
    """The client's own workers, over its own broker."""
    try:
        from prover_worker.work_queue import Messages
    except ModuleNotFoundError as error:
        raise AgentError(
            f"--workers needs the package {error.name}: pip install 'unlearning-ledger[client,workers]'"
        ) from error
    site = Site.open(options.workers, make=True)
    return Crew(site, Messages(site, options.broker), backend)


def _enrol(agent: Agent, options: argparse.Namespace) -> list[str]:
    if options.replace:
        return [f"enrolled a new key at log index {agent.replace_key(options.token).index}"]
    if not (options.server and options.client):
        raise AgentError("enrol needs --server and --client, from the provider's invitation")
    ref = agent.enrol(
        options.server, options.client, options.token, options.log_vkey, options.provider_key,
        options.witness, options.quorum,
    )  # fmt: skip
    agent.keep_limit()
    return [f"enrolled at log index {ref.index}"]


def _commit(agent: Agent, options: argparse.Namespace) -> list[str]:
    agent.keep_limit()
    ref = agent.commit(
        options.weights, options.data, options.samples, model=options.model, evaluation=options.evaluation,
        anew=options.anew, zero=options.zero, unlinked=options.unlinked, patience=options.patience,
    )  # fmt: skip
    return [f"committed at log index {ref.index}"]


def _object(agent: Agent, options: argparse.Namespace) -> list[str]:
    ref = agent.object(agent.order(options.order), options.reason)
    return [f"objection to order {options.order} at log index {ref.index}"]


def _keys(agent: Agent, options: argparse.Namespace) -> list[str]:
    keys = agent.keys
    if options.action == "add":
        added = keys.add(options.out, options.label)
        return [f"added key {added}; its private half is in {options.out}: keep it as safe as this folder"]
    if options.action == "rotate":
        return [f"this folder now signs with key {keys.rotate(options.label)}"]
    if options.action == "revoke":
        return [f"revoked key {keys.revoke(options.key, options.reason)}"]
    if options.action == "use":
        return [f"this folder now signs with key {keys.use(options.key)}"]
    table = Table("key", "label", "since entry", "until entry", "")
    for key in keys.listed():
        until = str(key["revoked"]["index"]) if key["revoked"] else ""
        own = "this folder's" if key["own"] else ""
        table.add_row(key["keyid"][:16], key["label"], str(key["since"]["index"]), until, own)
    return [_shown(table)]


def _shown(table: Table) -> str:
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()


def _status(agent: Agent, _options: argparse.Namespace) -> list[str]:
    table = Table("order", "state", "attempt", "due", "verdict")
    for order in agent.orders():
        verdict = order["verdict"]["result"] if order["verdict"] else ""
        table.add_row(order["uuid"], order["state"], str(order["attempt"]), order["dueAt"], verdict)
    return [_shown(table) if table.row_count else "no orders"]


_TELLING: Final = {"enrol": _enrol, "commit": _commit, "keys": _keys, "status": _status, "object": _object}


def _carry_out(agent: Agent, options: argparse.Namespace) -> tuple[int, list[str]]:
    listed = agent.orders()
    if options.order and options.order not in {order["uuid"] for order in listed}:
        raise AgentError(f"this client has no order {options.order}; `status` lists those it has")
    again = getattr(options, "again", False)
    orders = [
        order["uuid"]
        for order in listed
        if options.order in {None, order["uuid"]} and agent.has_work(order, _STEPS[options.command])
    ]
    if not orders:
        return DONE, ["no open orders"]
    outcomes = carry_out(agent, orders, _STEPS[options.command], patience=options.patience, again=again)
    told = [_told(outcome) for outcome in outcomes]
    return max(status for status, _ in told), [line for _, lines in told for line in lines]


def _told(outcome: Outcome) -> tuple[int, list[str]]:
    """Exit status and lines about one order."""
    order, verdict = outcome.order, outcome.order["verdict"]
    if outcome.error is not None:
        return _status_of(outcome.error), [f"order {order['uuid']}: {outcome.error}"]
    if verdict is None:
        return DONE, [f"order {order['uuid']}: {order['state']}, attempt {order['attempt']}"]
    lines = [f"order {order['uuid']}: {verdict['result']} at log index {verdict['ref']['index']}"]
    for failure in verdict["failures"]:
        where = "claim" if failure["chunk"] is None else f"chunk {failure['chunk']}"
        lines.append(f"  {where}: {failure['reason']}")
    return (DONE if verdict["result"] == "accepted" else REJECTED), lines


def _say(line: str) -> None:
    """A line of `watch`, at once: whoever reads it may be another program."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
