"""The images as they are built: what each holds, the web server on a new database, and a backup."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.images import compose
from tests.images.compose import Container
from tests.images.conftest import VALUES, Deployment

pytestmark = [pytest.mark.images, pytest.mark.slow]
HEAVY = ("torch", "ezkl", "onnx", "timm", "transformers", "sklearn", "numpy", "zksnake")


@pytest.mark.parametrize(
    ("target", "has", "lacks"),
    [
        ("witness", ("ledger.witness",), ("django", "psycopg", *HEAVY)),
        ("web", ("ledger.wsgi", "gunicorn", "prometheus_client", "opentelemetry.sdk"), HEAVY),
        ("worker-cpu", ("prover_worker.celery", "typst", "boto3"), HEAVY),
        ("worker-prover", ("prover_worker.celery", "prover_worker.ezkl_backend", "unlearning.recipe", *HEAVY), ()),
    ],
)
def test_an_image_holds_what_its_work_needs_and_no_more(place, target, has, lacks):
    """Run as in the compose file: as nobody, without capabilities, on a root that it cannot write."""
    given = compose.services(VALUES)[target] | {"environment": {}}
    one = Container(place, target, given)
    program = (
        "import importlib, json, os\n"
        f"found = {{}}\nfor name in {[*has, *lacks]}:\n"
        "    try: importlib.import_module(name); found[name] = True\n"
        "    except ModuleNotFoundError as error: found[name] = str(error)\n"
        "    except Exception as error: found[name] = type(error).__name__\n"
        "def writes(path):\n"
        "    try: open(path, 'w').close(); return True\n"
        "    except OSError: return False\n"
        "places = [path for path in ('/app/x', '/opt/venv/x', '/var/lib/ledger/x', '/tmp/x') if writes(path)]\n"
        "caps = [l for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapBnd', 'NoNewPrivs'))]\n"
        "print(json.dumps({'found': found, 'places': places, 'ids': [os.getuid(), os.getgid()], 'caps': caps}))\n"
    )
    done = one.run("python3", "-c", program)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    # Django's settings need a server's environment, which this container has not; a missing package is what counts.
    assert [name for name in has if "No module" in str(said["found"][name])] == [], said["found"]
    assert [name for name in lacks if "No module" not in str(said["found"][name])] == [], said["found"]
    assert said["places"] == ["/var/lib/ledger/x", *(["/tmp/x"] if given.get("tmpfs") else [])]
    assert said["ids"] == [10001, 10001]
    assert [line.split()[1].strip("0") for line in said["caps"]] == ["", "", "1"]


def test_settings_are_those_of_a_public_server(deployment: Deployment):
    """Of the warnings only one is left: the compose file's own network has no TLS, and does not leave the host."""
    web = deployment.containers["web"]
    done = web.exec("python3", "manage.py", "check", "--deploy")
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"\((\w+\.[A-Z]\d+)\)", done.stderr)) == {"ledger.W018"}, done.stderr
    assert web.exec("python3", "manage.py", "migrate", "--check").returncode == 0


def test_pages_have_their_files_and_their_languages(proxy):
    """Templates, styles and catalogues are in the image."""
    for language, word in (("en", "Log in"), ("de", "Anmelden")):
        asked = urllib.request.Request(f"{proxy.address}/admin/login/", headers={"Accept-Language": language})
        with urllib.request.urlopen(asked) as answer:
            page = answer.read().decode()
        assert word in page
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(files) > 3
    for file in files:
        with urllib.request.urlopen(proxy.address + file) as answer:
            assert answer.read(), file


def test_a_backup_is_made_in_an_image(deployment: Deployment, place: Path):
    """It has pg_dump of the database's version."""
    folder = place / "backup"
    folder.mkdir()
    folder.chmod(0o777)
    assert "entries" in deployment.manage("backup", "/backup/first", writable={"/backup": folder})
