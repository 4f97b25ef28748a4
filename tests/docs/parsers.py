"""What each program understands, asked of the program's own parser."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import subprocess
import tomllib
from collections.abc import Callable
from functools import cache
from typing import Any

import yaml
from django.core.management import ManagementUtility
from packaging.requirements import Requirement

from tests.docs.fences import ROOT, Command

#: What the reader's own may be, where it cannot be any word.
NAMES = {"N": "1", "UUID": "6f3c1f9e-3f0a-4c55-9f0e-0d6f2f0e9a11"}


class NotUnderstoodError(AssertionError):
    """A command that its program would refuse."""


class _Loud:
    """argparse ends the process where it does not understand; here it raises."""

    @staticmethod
    def error(message: str) -> None:
        raise NotUnderstoodError(message)


def understood(command: Command) -> None:
    """Raises NotUnderstoodError if the program would refuse these words; names in capitals may be anything."""
    words = list(command.words)
    first = words[0].removeprefix(".venv/bin/")
    if first in {"python", "python3"} or first == "unlearning-agent" or first == "unlearning-verify":
        parser, rest = _parser(command)
        _loud(parser).parse_args([NAMES.get(word, word) for word in rest])
    elif first in _OTHERS:
        _OTHERS[first](words[1:])
    else:
        raise NotUnderstoodError(f"nobody here knows {first}")


def known(command: Command) -> None:
    """The same for the part of a command that a sentence mentions: the program exists, and so do its options."""
    if command.words[0] == "make":
        return _make(list(command.words[1:]))
    if command.words[:2] == ("python", "-m") and command.words[2].startswith("benchmarks."):
        if importlib.util.find_spec(command.words[2]) is None:
            raise NotUnderstoodError(f"there is no {command.words[2]}")
        return None
    parser, _ = _parser(command)
    options = _options(parser)
    for word in command.options - {"-m"}:
        if word not in options:
            raise NotUnderstoodError(f"{command.program} has no {word}")
    return None


def _parser(command: Command) -> tuple[argparse.ArgumentParser, list[str]]:
    words = [word.removeprefix(".venv/bin/") for word in command.words]
    if words[:2] == ["python", "-m"]:
        return _module(words[2]), words[3:]
    if words[0].startswith("python") or words[0] == "manage.py":
        words = words[words.index("manage.py") + 1 :]
        return ManagementUtility(["manage.py"]).fetch_command(words[0]).create_parser("manage.py", words[0]), words[
            1:
        ]
    return _module(
        {"unlearning-agent": "prover_worker.agent", "unlearning-verify": "prover_worker.audit"}[words[0]]
    ), words[1:]


#: Programs whose parser is not where they start.
_PARSERS = {
    "prover_worker.agent": "prover_worker.agent_parser", "prover_worker.audit": "prover_worker.audit.command",
    "ledger.witness": "ledger.witness.__main__", "unlearning": "unlearning.__main__",
}  # fmt: skip


def _module(name: str) -> argparse.ArgumentParser:
    try:
        made: argparse.ArgumentParser = importlib.import_module(_PARSERS.get(name, name)).parser()
    except (ImportError, AttributeError) as error:
        raise NotUnderstoodError(f"there is no program python -m {name}: {error}") from error
    return made


def _below(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(one for action in inner for below in action.choices.values() for one in _below(below))]


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for one in _below(parser) for name in one._option_string_actions}


def _loud(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    for one in _below(parser):
        one.error = _Loud.error  # type: ignore[method-assign,assignment]
    return parser


@cache
def _makefile() -> str:
    return (ROOT / "Makefile").read_text()


def _make(words: list[str]) -> None:
    target, settings = words[0], dict(word.split("=", 1) for word in words[1:])
    if not re.search(rf"^\.PHONY:.* {target}( |$)", _makefile(), re.MULTILINE):
        raise NotUnderstoodError(f"the Makefile has no {target}")
    for name in settings:
        if not re.search(rf"^{name} \?=", _makefile(), re.MULTILINE):
            raise NotUnderstoodError(f"the Makefile has no {name}")
    if target == "bench" and importlib.util.find_spec(f"benchmarks.{settings['B']}") is None:
        raise NotUnderstoodError(f"there is no benchmark {settings['B']}")
    for line in made_by(words):
        understood(Command("Makefile", tuple(line)))


def made_by(words: list[str]) -> list[list[str]]:
    """The programs of ours that `make` would run, by its own word."""
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = re.findall(r"\.venv/bin/(python (?:manage\.py|-m unlearning) [^>\n]*)", done.stdout)
    return [line.split() for line in ours]


def _pip(words: list[str]) -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = Requirement(words[1])
    known = wanted.name == told["name"] and wanted.extras <= set(told["optional-dependencies"])
    if words[0] != "install" or not known:
        raise NotUnderstoodError(f"pyproject.toml knows no {words[1]}")


def _gunicorn(words: list[str]) -> None:
    from gunicorn.config import Config

    got = _loud(Config().parser()).parse_args(words)
    if got.args != ["ledger.wsgi"]:
        raise NotUnderstoodError(f"gunicorn would serve {got.args}")


def _celery(words: list[str]) -> None:
    from celery.bin.worker import worker

    from ledger import broker

    if words[:3] != ["-A", "prover_worker.celery", "worker"]:
        raise NotUnderstoodError(f"celery would not start a worker: {words}")
    options = {name for one in worker.params for name in one.opts}
    queues = words[words.index("-Q") + 1].split(",")
    unknown = [word for word in words[3:] if word.startswith("-") and word not in options] + list(
        set(queues) - set(broker.LIMITS)
    )
    if unknown:
        raise NotUnderstoodError(f"celery or its queues have no {unknown}")


def _docker(words: list[str]) -> None:
    if words[:2] != ["compose", "-f"] or not (ROOT / words[2]).exists():
        raise NotUnderstoodError(f"no compose file: {words}")
    if words[3] == "run":
        service, python, *command = [word for word in words[4:] if not word.startswith("-")]
        if service not in yaml.safe_load((ROOT / words[2]).read_text())["services"]:
            raise NotUnderstoodError(f"no service {service}")
        understood(Command(words[2], (python, *command)))


def _kubectl(words: list[str]) -> None:
    for name in (words[at + 1] for at, word in enumerate(words) if word == "-f"):
        if not (ROOT / "docker" / "kubernetes" / name).exists():
            raise NotUnderstoodError(f"no manifest {name}")


def _copy(words: list[str]) -> None:
    if not (ROOT / words[0]).exists():
        raise NotUnderstoodError(f"there is no {words[0]}")


_OTHERS: dict[str, Callable[[list[str]], Any]] = {
    "make": _make, "pip": _pip, "gunicorn": _gunicorn, "celery": _celery, "docker": _docker, "kubectl": _kubectl,
    "cp": _copy, "$EDITOR": lambda words: _copy(["docker/example.env"] if words == ["docker/.env"] else words),
}  # fmt: skip
