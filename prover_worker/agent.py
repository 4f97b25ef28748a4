"""The client's command line.

    python -m prover_worker.agent --state DIR enrol --server URL --client UUID --token TOKEN
    python -m prover_worker.agent --state DIR enrol --replace --token TOKEN
    python -m prover_worker.agent --state DIR commit --weights model.safetensors --data data.npz
    python -m prover_worker.agent --state DIR status
    python -m prover_worker.agent --state DIR unlearn [--order UUID]

Every command can be interrupted and run again; it goes on where it stopped. Exit status: 0 done, 1 an order was
rejected, 2 something is wrong and the one line on stderr says what.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ledger.statements.errors import StatementError
from ledger.tlog.errors import TlogError
from prover_worker.client import Agent
from prover_worker.client_base import Report, silent
from prover_worker.errors import AgentError, ProverError
from unlearning.errors import UnlearningError

_OPEN = ("issued", "claimed", "challenged", "proved", "rejected")


def main(arguments: Sequence[str] | None = None, make_agent: Callable[..., Agent] = Agent) -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args(arguments)
    os.umask(0o077)  # keys, salt and weights are nobody else's business
    try:
        with reporter(options.progress) as report:
            status, lines = _run(make_agent, options, report)
    except (ProverError, UnlearningError, StatementError, TlogError, OSError) as error:
        print(f"agent: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("agent: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    for line in lines:  # after the bars are gone: they own the terminal while they live
        print(line)
    return status


def parser(prog: str = "python -m prover_worker.agent") -> argparse.ArgumentParser:
    """The argument parser, with its help texts."""
    top = argparse.ArgumentParser(prog=prog, description="Client of an unlearning ledger.")
    top.add_argument("--state", type=Path, required=True, help="folder with this client's keys, secrets and proofs")
    top.add_argument("--cache", type=Path, help="folder for proving keys (default: inside the state folder)")
    top.add_argument("--jobs", type=int, default=1, help="processes that prove at once; each needs its own memory")
    top.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    commands = top.add_subparsers(dest="command", required=True)

    enrol = commands.add_parser("enrol", help="register this client's key")
    enrol.add_argument("--server", help="the ledger's address, as https://ledger.example")
    enrol.add_argument("--client", help="the client's handle, from the provider's invitation")
    enrol.add_argument(
        "--replace", action="store_true", help="a new key for this folder's client: the old one is lost"
    )
    enrol.add_argument("--token", required=True, help="the one-time token of the invitation")
    enrol.add_argument("--log-vkey", help="verifier key of the log, if you have it from elsewhere")
    enrol.add_argument("--provider-key", help="the provider's public key in hex, if you have it from elsewhere")
    enrol.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="a witness that must cosign checkpoints"
    )
    enrol.add_argument("--quorum", type=int, help="how many of the witnesses (default: all)")

    commit = commands.add_parser("commit", help="commit to the personalised model and its curvature")
    commit.add_argument("--weights", type=Path, required=True, help="safetensors file of the personalised model")
    commit.add_argument("--data", type=Path, required=True, help=".npz with arrays x and y; stays on this machine")
    commit.add_argument("--samples", type=int, default=480, help="how many of them to take gradients of")

    commit.add_argument("--anew", action="store_true", help="replace an earlier commitment of this client")

    commands.add_parser("status", help="show this client's orders")

    unlearn = commands.add_parser("unlearn", help="carry open orders out: compensate, claim, prove, submit")
    unlearn.add_argument("--order", help="one order only")
    unlearn.add_argument("--patience", type=float, default=600, help="seconds to wait for the ledger's answers")
    unlearn.add_argument("--again", action="store_true", help="make a new attempt at orders that were rejected")
    return top


def _run(make_agent: Callable[..., Agent], options: argparse.Namespace, report: Report) -> tuple[int, list[str]]:
    if options.command in {"commit", "unlearn"}:
        from prover_worker.ezkl_backend import EzklBackend

        backend = EzklBackend()
    else:
        backend = None
    agent = make_agent(options.state, backend, options.jobs, options.cache, report)
    if options.command == "enrol" and options.replace:
        ref = agent.replace_key(options.token)
        return 0, [f"enrolled a new key at log index {ref.index}"]
    if options.command == "enrol":
        if not (options.server and options.client):
            raise AgentError("enrol needs --server and --client, from the provider's invitation")
        ref = agent.enrol(
            options.server, options.client, options.token, options.log_vkey, options.provider_key,
            options.witness, options.quorum,
        )  # fmt: skip
        return 0, [f"enrolled at log index {ref.index}"]
    if options.command == "commit":
        ref = agent.commit(options.weights, options.data, options.samples, anew=options.anew)
        return 0, [f"committed at log index {ref.index}"]
    if options.command == "status":
        return _status(agent)
    return _unlearn(agent, options)


def _status(agent: Agent) -> tuple[int, list[str]]:
    table = Table("order", "state", "attempt", "due", "verdict")
    for order in agent.orders():
        verdict = order["verdict"]["result"] if order["verdict"] else ""
        table.add_row(order["uuid"], order["state"], str(order["attempt"]), order["dueAt"], verdict)
    console = Console()
    with console.capture() as captured:
        console.print(table if table.row_count else "no orders")
    return 0, [captured.get().rstrip()]


def _unlearn(agent: Agent, options: argparse.Namespace) -> tuple[int, list[str]]:
    listed = agent.orders()
    if options.order and options.order not in {order["uuid"] for order in listed}:
        raise AgentError(f"this client has no order {options.order}; `status` lists those it has")
    orders = [
        order["uuid"] for order in listed if order["state"] in _OPEN and options.order in {None, order["uuid"]}
    ]
    if not orders:
        return 0, ["no open orders"]
    rejected, lines = 0, []
    for order_id in orders:
        order = agent.unlearn(order_id, options.patience, again=options.again)
        verdict = order["verdict"]
        lines.append(f"order {order_id}: {verdict['result']} at log index {verdict['ref']['index']}")
        for failure in verdict["failures"]:
            where = "claim" if failure["chunk"] is None else f"chunk {failure['chunk']}"
            lines.append(f"  {where}: {failure['reason']}")
        rejected += verdict["result"] != "accepted"
    return (1 if rejected else 0), lines


@contextmanager
def reporter(style: str) -> Iterator[Report]:
    """A function that shows (stage, done, total): as a bar, as JSON lines for another program, or not at all."""
    if style == "none":
        yield silent
    elif style == "json":
        yield lambda stage, done, total: print(
            json.dumps({"stage": stage, "done": done, "total": total}), file=sys.stderr, flush=True
        )
    else:
        columns = (
            TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bars:
            shown: dict[str, TaskID] = {}

            def show(stage: str, done: int, total: int) -> None:
                name = stage.split(":", maxsplit=1)[0]
                if name not in shown:
                    for earlier in bars.tasks:  # one stage follows another: what came before is over
                        bars.update(earlier.id, completed=earlier.total)
                    shown[name] = bars.add_task(name, total=total)
                bars.update(shown[name], completed=done, total=total, description=stage)

            yield show
            for task in bars.tasks:
                bars.update(task.id, completed=task.total)


if __name__ == "__main__":
    sys.exit(main())
