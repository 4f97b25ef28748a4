"""The agent's options, with their help texts."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final, get_args

from ledger.statements.predicates import OrderObjection
from prover_worker.agent_log import LEVELS, versions
from prover_worker.client_keys import REASONS as REVOCATIONS
from prover_worker.damage import DEFAULT_MAX_DROP
from prover_worker.profiles import PROFILES

REASONS: Final = get_args(OrderObjection.model_fields["reason"].annotation)
STATE_VARIABLE: Final = "UNLEARNING_AGENT_STATE"
BROKER_VARIABLE: Final = "UNLEARNING_WORKERS_BROKER"


def parser(prog: str = "unlearning-agent") -> argparse.ArgumentParser:
    """The argument parser."""
    top = argparse.ArgumentParser(prog=prog, description="Client of an unlearning ledger.")
    top.add_argument("--version", action="version", version=f"%(prog)s {versions()['unlearning-ledger']}")
    state = os.environ.get(STATE_VARIABLE)
    top.add_argument(
        "--state",
        type=Path,
        required=state is None,
        default=state and Path(state),
        help=f"folder with this client's keys, secrets and proofs (or ${STATE_VARIABLE})",
    )
    top.add_argument("--cache", type=Path, help="folder for proving keys (default: inside the state folder)")
    top.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        help="edge: one process at a time, whose memory is given back after each proof; server: one a processor",
    )
    top.add_argument(
        "--jobs",
        type=int,
        help="processes that prove at once, each with its memory (default: the profile's, or 1)",
    )
    top.add_argument(
        "--workers",
        type=Path,
        metavar="DIR",
        help="let workers of your own prove (`python -m prover_worker.work --shared DIR` on each machine); "
        "DIR is a folder that all of them see and nobody else",
    )
    top.add_argument(
        "--broker",
        default=os.environ.get(BROKER_VARIABLE, ""),
        help=f"your own Redis or RabbitMQ that wakes them (or ${BROKER_VARIABLE}); default: files in DIR",
    )
    top.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    top.add_argument("--log-level", choices=LEVELS, default="info", help="of logs/agent.log in the state folder")
    commands = top.add_subparsers(dest="command", required=True)
    _enrol(commands.add_parser("enrol", help="register this client's key"))
    _commit(commands.add_parser("commit", help="commit to the personalised model and its curvature"))
    _keys(commands.add_parser("keys", help="list, add, rotate or revoke this client's keys"))
    commands.add_parser("status", help="show this client's orders")
    for name, text in (
        ("unlearn", "compensate, and log the claim of what was done"),
        ("prove", "prove claims that were challenged"),
        ("submit", "send finished proofs and wait for the verdicts"),
        ("run", "unlearn, prove and submit: all steps of the orders that are open now"),
    ):
        _orders(commands.add_parser(name, help=text), name)
    objection = commands.add_parser("object", help="tell the provider why an order is not obeyed; logged for good")
    objection.add_argument("--order", required=True, help="its UUID, which `status` shows")
    objection.add_argument("--reason", choices=REASONS, required=True)
    watch = commands.add_parser("watch", help="stay, and carry out every order as it comes")
    _max_drop(watch)
    support = commands.add_parser("support-bundle", help="collect versions, log and state, without secrets")
    support.add_argument("--out", type=Path, help="where to write it (default: the current folder)")
    return top


def _enrol(enrol: argparse.ArgumentParser) -> None:
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
    _max_drop(enrol, kept=True)


def _keys(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="show all keys that the ledger knows")
    add = actions.add_parser("add", help="make one more key, for another machine or the safe")
    add.add_argument("--out", type=Path, required=True, help="file for the new private key")
    add.add_argument("--label", default="", help="what to call it; seen by you and the provider's officers only")
    rotate = actions.add_parser("rotate", help="replace this folder's key by a new one")
    rotate.add_argument("--label", default="")
    revoke = actions.add_parser("revoke", help="end another key of this client")
    revoke.add_argument("key", help="its ID, or an unmistakable beginning of it")
    revoke.add_argument("--reason", choices=REVOCATIONS, default="lost")
    use = actions.add_parser("use", help="let this folder sign with another valid key, as when its own was revoked")
    use.add_argument("key", type=Path, help="file of the private key")


def _commit(commit: argparse.ArgumentParser) -> None:
    commit.add_argument("--weights", type=Path, required=True, help="safetensors file of the personalised model")
    commit.add_argument("--data", type=Path, required=True, help=".npz with arrays x and y; stays on this machine")
    commit.add_argument(
        "--model", help="name or UUID of the provider's model that was personalised (default: newest)"
    )
    commit.add_argument("--samples", type=int, default=480, help="how many samples of --data to take gradients of")
    commit.add_argument(
        "--evaluation", type=Path, help="an .npz to measure orders on (default: a sample of --data is kept)"
    )
    commit.add_argument("--anew", action="store_true", help="replace an earlier commitment of this client")
    commit.add_argument(
        "--zero", action="store_true", help="set weights to zero again that orders have set to zero before"
    )
    commit.add_argument(
        "--unlinked",
        action="store_true",
        help="do not claim that this model continues the unlearned one; the ledger marks it so",
    )
    commit.add_argument("--patience", type=float, default=600, help="seconds to wait for the ledger's answers")
    _max_drop(commit, kept=True)


def _orders(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument("--order", help="UUID of one order (default: all that are open)")
    command.add_argument("--patience", type=float, default=600, help="seconds to wait for the ledger's answers")
    if name in {"unlearn", "run"}:
        command.add_argument("--again", action="store_true", help="make a new attempt at orders that were rejected")
        command.add_argument("--force", action="store_true", help="obey an order that exceeds the limit of damage")
        _max_drop(command)


def _max_drop(command: argparse.ArgumentParser, *, kept: bool = False) -> None:
    scope = "kept for all later orders" if kept else "for this run only"
    command.add_argument(
        "--max-drop",
        type=_points,
        metavar="POINTS",
        help="points of accuracy on this client's own data that an order may cost before it is refused "
        f"(default {DEFAULT_MAX_DROP:g}); {scope}",
    )


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected points of accuracy from 0 to 100")
    return value
