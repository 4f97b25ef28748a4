"""What the site's reference pages take from the code itself. Each function returns Markdown."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

DOCS: Final = Path(__file__).resolve().parents[1]
WIDTH: Final = "100"  # columns of help texts
#: Forms that occur often, in words.
PATTERNS: Final = {
    "^[0-9a-f]{64}$": "64 hex digits",
    "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$": "UUID",
    "^[a-z0-9]+(-[a-z0-9]+)*$": "code: words of lower-case letters and digits, with hyphens between",
}


def commands() -> str:
    """The help text of every command, without the options that all Django commands share."""
    os.environ["COLUMNS"] = WIDTH
    return "\n".join(f"## `{name}`\n\n```text\n{text.rstrip()}\n```\n" for name, text in _helps())


def _helps() -> Iterator[tuple[str, str]]:
    from ledger.witness.__main__ import parser as witness
    from prover_worker.agent_parser import parser as agent
    from prover_worker.audit.command import parser as verify
    from prover_worker.release import parser as release
    from prover_worker.work import parser as work
    from unlearning.__main__ import parser as unlearning

    for top in (agent(), work(), verify(), witness(), release(), unlearning()):
        yield top.prog, top.format_help()
        yield from _below(top)
    yield from _manage()


def _below(top: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in top._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for one in action.choices.values():
                yield one.prog, one.format_help()
                yield from _below(one)


def _manage() -> Iterator[tuple[str, str]]:
    import django
    from django.core.management import get_commands, load_command_class

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")
    django.setup()
    for name in sorted(name for name, app in get_commands().items() if app == "ledger"):
        top = load_command_class("ledger", name).create_parser("manage.py", name)
        mine = [action for action in top._actions if not _djangos(action)]  # noqa: SLF001
        short = argparse.ArgumentParser(prog=f"manage.py {name}", description=top.description, add_help=False)
        for action in mine:
            short._add_action(action)  # noqa: SLF001
        yield short.prog, short.format_help()


def _djangos(action: argparse.Action) -> bool:
    shared = "help version verbosity settings pythonpath traceback no_color force_color skip_checks"
    return action.dest in shared.split()


def predicates() -> str:
    """Every kind of statement, with its fields as they stand in JSON."""
    from ledger.statements.predicates import PREDICATES

    return "\n".join(_predicate(kind) for kind in sorted(PREDICATES.values(), key=lambda kind: kind.slug))


def _predicate(kind: Any) -> str:
    schema = kind.model_json_schema(by_alias=True, mode="validation")
    lines = [f"## {kind.slug}\n", f"`{kind.type_uri()}`. {_one_line(kind.__doc__)}\n", *_members(schema)]
    for name, inner in schema.get("$defs", {}).items():
        if "properties" in inner and name != "LogRef":
            lines += [f"\n**{name}**: {_one_line(inner.get('description'))}\n", *_members(inner)]
    return "\n".join(lines) + "\n"


def _members(schema: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{name}` | {_form(said)}{'' if name in schema.get('required', ()) else ', may be left out'} "
        f"| {_one_line(said.get('description'))} |"
        for name, said in schema["properties"].items()
    ]
    return ["| member | form | |", "|---|---|---|", *rows]


def _form(said: dict[str, Any]) -> str:
    """A JSON Schema in words."""
    kind = said.get("type", "anything")
    if "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        words = "reference to an entry" if name == "LogRef" else name
    elif "anyOf" in said:
        words = " or ".join(_form(one) for one in said["anyOf"])
    elif "const" in said or "enum" in said:
        words = ", ".join(f"`{one}`" for one in said.get("enum", [said.get("const")]))
    elif kind == "array":
        words = f"list of {_form(said['items'])}"
    elif "pattern" in said:
        words = PATTERNS.get(said["pattern"]) or f"text `{said['pattern']}`".replace("|", "\\|")
    else:
        words = {"string": "text", "object": "object of any members"}.get(kind, kind)
        words = "time" if said.get("format") == "date-time" else words
    return words


def _one_line(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|").strip()


def operations() -> str:
    """Every operation of the REST interface, by its first word, from docs/openapi.yaml."""
    paths = yaml.load((DOCS / "openapi.yaml").read_text(), Loader=yaml.CSafeLoader)["paths"]
    groups: dict[str, list[str]] = {}
    for path, methods in paths.items():
        group = groups.setdefault(path.removeprefix("/api/v1/").split("/")[0] or "read from outside", [])
        for method, said in methods.items():
            words = said.get("summary", ""), _one_line(said.get("description"))
            group.append(f"| `{method.upper()} {path}` | {words[0]} | {words[1]} |")
    return "\n".join(_section(name, rows) for name, rows in sorted(groups.items()))


def _section(name: str, rows: list[str]) -> str:
    return "\n".join([f"### {name}\n", "| operation | | |", "|---|---|---|", *sorted(rows)]) + "\n"


def circuits() -> str:
    """The parameters of the circuit releases that the release command knows by name."""
    from ledger.statements.predicates.circuit_release import CircuitParameters
    from prover_worker.release import PROFILES

    def row(name: str, values: Iterable[object]) -> str:
        return f"| {name} | {' | '.join(str(value) for value in values)} |"

    known = list(PROFILES.values())
    rows = [
        row(f"`{name}`", ["as `columns`" if (got := getattr(one, name)) is None else f"{got:,}" for one in known])
        for name in sorted(CircuitParameters.model_fields)
    ]
    head = [row("parameter", [f"`{name}`" for name in PROFILES]), "|---" * (len(known) + 1) + "|"]
    return (
        "\n".join([*head, *rows, row("weights per proof", [f"{p.blocks * p.block_size:,}" for p in known])]) + "\n"
    )
