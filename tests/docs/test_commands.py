"""Every command in the documentation is run: here, by another test, or not, for a reason that is told.

Whatever runs it, each is first given to its program's own parser. Readers' names are replaced by something small.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs.fences import ROOT, SCRIPTS, Command, asides, commands
from tests.docs.parsers import NotUnderstoodError, known, made_by, understood
from tests.stories.conftest import ARCHITECTURE, PARAMETERS

#: The smallest circuits and the shortest training: these commands take such options, and are the same with them.
SMALL = " ".join(
    f"--{name.replace('_', '-')} {value}"
    for name, value in PARAMETERS.model_dump().items()
    if name != "form" and value is not None
)

#: An operator's first day and every other day, in the documentation's words; what is added to each; in one process.
SESSION = [
    ("manage.py migrate", "-v 0"),
    ("manage.py init", ""),
    ("manage.py check --deploy", ""),
    ("manage.py createsuperuser", "--noinput --username olga --email olga@ledger.example"),  # else it asks
    ("python -m prover_worker.release --out DIR", f"--profile small {SMALL}"),
    ("manage.py register_circuit DIR", ""),
    ("python -m unlearning train --dataset digits --out MODEL", "--epochs 1 --architecture ARCHITECTURE"),
    ("manage.py register_model MODEL --name NAME --dataset digits", "--block-size 16"),
    ("manage.py invite_client NAME", ""),
    ("manage.py import_requests requests.csv --dry-run", ""),
    ("manage.py rotate_key provider", ""),
    ("manage.py rotate_key log", ""),
    ("manage.py purge_erased", ""),
    ("manage.py rotate_master_key", ""),
    ("manage.py fsck", ""),
    ("manage.py report period --since 2026-01-01 --until 2027-01-01 --format csv", "--output report.zip"),
]

#: Commands that other tests run, by program: how these tests write it. Options must stand in the same files.
ELSEWHERE = {
    "manage.py serve": '"serve"',
    "manage.py demo": '"manage.py", "demo"',
    "manage.py setup_roles": 'call_command("setup_roles"',
    "manage.py backup": "backup|",
    "manage.py restore": "restore|",
    "manage.py report window": '"report", "window"',
    "python -m prover_worker.release": "release.main(options) == 0",
    "unlearning-verify": "prover_worker.audit.command import main",
    "unlearning-agent enrol": 'call("enrol"',
    "unlearning-agent commit": '"commit"',
    "unlearning-agent watch": '.start("watch")',
    **{
        f"unlearning-agent keys {name}": f'call("keys", "{name}"'
        for name in ("list", "add", "rotate", "revoke", "use")
    },
    "gunicorn": '"gunicorn", "ledger.wsgi"',
    "celery": '"celery", "-A"',
}

NOT_RUN = {
    "pip": "downloads; tests/stories/test_the_agent_stands_alone.py builds the package and installs it",
    "docker": "needs an engine; tests/images runs what the compose file says",
    "kubectl": "needs a cluster; tests/test_docker.py looks at manifests",
    "cp": "prepares for docker", "$EDITOR": "is a person's part",
    "make test": "runs this very test",
    "make help": "prints the Makefile's own words",
}  # fmt: skip

RUNNER = """
import importlib, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "ledger.settings"
import django
from django.core.management import execute_from_command_line
django.setup()
from django.conf import settings
from ledger import embedded
try:
    for words in json.load(sys.stdin):
        print("$", *words, flush=True)
        try:
            if words[0] == "manage.py":
                status = execute_from_command_line(words)
            else:
                name = words[2] if words[2] != "unlearning" else "unlearning.__main__"
                status = importlib.import_module(name).main(words[3:])
        except SystemExit as ended:
            status = ended.code
        if status:
            sys.exit(f"{words} ended with {status}")
finally:
    embedded.stop(settings.LEDGER_DATA_DIR)
"""


def as_command(text: str) -> Command:
    words = shlex.split(text)
    return Command("the session", tuple(["python", *words] if words[0] == "manage.py" else words))


def covered() -> dict[str, list[Command]]:
    """What the session runs, by program."""
    found: dict[str, list[Command]] = {}
    for text, _ in SESSION:
        command = as_command(text)
        found.setdefault(command.program, []).append(command)
    return found


@cache
def sources() -> list[str]:
    """Texts of all tests, and of what they start web and worker with."""
    mine = Path(__file__).parent
    files = [path for path in (ROOT / "tests").rglob("*.py") if mine not in path.parents]
    return [path.read_text() for path in [*files, ROOT / "ledger" / "services.py"]]


def lacking(command: Command) -> list[str]:
    """What no test has of a command: the words that run it; in the same files an option; anywhere one before it."""
    words = ELSEWHERE.get(command.program)
    if words is None and command.program.startswith("python -m "):
        words = f'"-m", "{command.words[2]}"'
    if words is None:
        return ["any test"]
    there = "\n".join(text for text in sources() if words in text)
    everywhere = "\n".join(sources())
    return [one for one in (words, *sorted(command.options - {"-m"})) if one not in there
            and not (one in command.standing and f'"{one}"' in everywhere)]  # fmt: skip


def unaccounted(command: Command) -> list[str]:
    """Nothing, if something runs this command or there is a reason not to."""
    program = command.program
    if program in NOT_RUN or program.split()[0] in NOT_RUN:
        return []
    if program.startswith("make "):
        made = {Command("Makefile", tuple(line)).program for line in made_by(list(command.words[1:]))}
        return [f"nothing runs what `{program}` runs: {one}" for one in made - set(covered()) - set(ELSEWHERE)]
    if any(command.options <= other.options for other in covered().get(program, [])):
        return []
    return [f"{command}: no test runs it with {one}" for one in lacking(command)]


@pytest.fixture(autouse=True)
def _agents_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNLEARNING_AGENT_STATE", str(tmp_path))


def test_every_command_is_understood_by_its_program() -> None:
    assert len(commands()) > 70
    wrong = []
    for command in commands():
        try:
            understood(command)
        except NotUnderstoodError as error:
            wrong.append(f"{command}: {error}")
    assert wrong == []


def test_every_command_in_a_sentence_exists() -> None:
    assert len(asides()) > 50
    wrong = []
    for command in asides():
        try:
            known(command)
        except NotUnderstoodError as error:
            wrong.append(f"{command}: {error}")
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python manage.py fsck --harder", "unrecognized arguments: --harder"),
        ("python manage.py report period --format docx", "invalid choice: 'docx'"),
        ("python -m prover_worker.agents", "no program"),
        ("unlearning-agent keys borrow", "invalid choice"),
        ("make believe", "the Makefile has no believe"),
        ("make bench B=nothing", "no benchmark nothing"),
        ("celery -A prover_worker.celery worker -Q masking,dreams", "dreams"),
        ("gunicorn ledger.wsgi --threat 8", "unrecognized arguments"),
        ("docker compose -f docker/compose.yaml run --rm nobody python3 manage.py fsck", "no service nobody"),
        ("pip install unlearning-ledger[everything]", "knows no"),
        ("psql ledger", "nobody here knows psql"),
    ],
)
def test_a_wrong_command_is_noticed(text: str, words: str) -> None:
    with pytest.raises(NotUnderstoodError, match=words):
        understood(Command("a page", tuple(shlex.split(text))))


def test_every_command_is_run_somewhere() -> None:
    assert [problem for command in commands() for problem in unaccounted(command)] == []
    for page, file in SCRIPTS.items():
        assert page.rpartition("/")[2] in (ROOT / file).read_text()
    used = {command.program for command in commands()} | {"manage.py demo", "manage.py serve"}
    stale = [program for program in [*ELSEWHERE, *NOT_RUN] if program not in used and not any(
        one.split()[0] == program for one in used)]  # fmt: skip
    assert stale == [], "no page has these commands any more"
    assert unaccounted(as_command("manage.py fsck --jobs 3")) != []
    assert unaccounted(as_command("manage.py purge_everything")) != []
    assert unaccounted(Command("a page", ("unlearning-agent", "keys", "rotate", "--often"))) != []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("operator")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LEDGER_", "DATABASE_", "CELERY_"))
    }
    return folder, kept | {
        "LEDGER_DATA_DIR": str(folder / "data"), "DJANGO_SUPERUSER_PASSWORD": "a long password of olga",
        "PYTHONPATH": str(ROOT), "PGOPTIONS": "-c lock_timeout=5s", "OMP_NUM_THREADS": "1",
        "UNLEARNING_AGENT_STATE": str(folder),
    }  # fmt: skip


@pytest.mark.slow
def test_an_operators_session(place: tuple[Path, dict[str, str]]) -> None:
    folder, environment = place
    (folder / "architecture.json").write_text(json.dumps(ARCHITECTURE))
    (folder / "requests.csv").write_text(
        "regulation,subject,dataset,class,receivedAt\ngdpr,Ada,digits,8,2026-10-01T09:00:00Z\n"
    )
    mine = {"DIR": "release", "MODEL": "model", "NAME": "digits", "ARCHITECTURE": "architecture.json"}
    lines = [[mine.get(word, word) for word in shlex.split(f"{text} {more}")] for text, more in SESSION]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(lines), cwd=folder, env=environment, capture_output=True,
        text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = done.stdout
    assert re.search(r"^log key: localhost/unlearning-ledger\+", said, re.MULTILINE)
    assert re.search(r"^token: \S{40,}$", said, re.MULTILINE)
    assert "model " in said
    assert (folder / "report.zip").read_bytes().startswith(b"PK")
    assert sorted(path.name for path in (folder / "release").iterdir() if path.name == "predicate.json")
