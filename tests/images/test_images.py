"""The images as they are built: what each holds, and an order from request to certificate through all of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.images import compose
from tests.images.compose import Container
from tests.images.conftest import VALUES, Deployment
from tests.services import free_port
from tests.stories.nursery import ROOT, await_that
from tests.stories.provider import audit

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


def test_from_request_to_certificate(
    deployment: Deployment, officer, proxy, new_client, global_model, place, tmp_path
):
    for name, folder in (("release", deployment.release), ("model", global_model)):
        shutil.copytree(folder, place / name)
    _readable(place / "release", place / "model")
    deployment.manage("register_circuit", "/mnt/release", release=place / "release")
    model = deployment.manage(
        "register_model", "/mnt/model", "--name", "digits", "--dataset", "digits", "--block-size", "16",
        model=place / "model",
    ).split()[1]  # fmt: skip
    client = new_client()
    _carry_out(client, client.invited(officer, "Clinic", proxy.address), client.committing)
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(model, request)
    _carry_out(client, ("run",))
    officer.await_window(window, "settled")
    officer.post(f"windows/{window}/certify")
    assert officer.get(f"requests/{request}")["state"] == "fulfilled"

    export = officer.post("exports", scope="window", about=window, format="pdf")["uuid"]
    await_that(
        lambda: officer.get(f"exports/{export}")["state"] == "done",
        compose.PATIENCE,
        lambda: officer.get(f"exports/{export}"),
    )
    with urllib.request.urlopen(f"{proxy.address}/checkpoint") as answer:
        assert answer.read().decode().count("\n\u2014 ") == 2  # signed, and cosigned by the witness

    init = dict(line.split(": ", 1) for line in deployment.manage("init").splitlines())
    bundle = officer.fetch(f"windows/{window}/bundle")
    status, said = audit(
        bundle, tmp_path / "bundle.zip", log_vkey=init["log key"], provider_key=init["provider key"]
    )
    assert status == 0, said
    assert "entries hold" in deployment.manage("fsck", "--jobs", "1")
    _each_queue_has_its_worker(deployment)


def _carry_out(client, *commands: tuple[Any, ...]) -> None:
    for command in commands:
        process = client.start(*command)
        assert process.wait(compose.PATIENCE) == 0, process.text[-3000:]


def _readable(*folders: Path) -> None:
    """What pytest makes is for its user only; the containers' user must read it."""
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def _each_queue_has_its_worker(deployment: Deployment) -> None:
    from ledger import queue

    def done(name: str) -> set[str]:
        text = deployment.containers[name].text
        return set(re.findall(r"Task ([\w.]+)\[[\w-]+\] succeeded", text))

    assert {queue.TASK_MASK, queue.TASK_VERIFY} == done("worker-prover")
    assert {queue.TASK_CHALLENGE, queue.TASK_SWEEP, queue.TASK_WEBHOOKS, queue.TASK_EXPORT} <= done("worker-cpu")
    assert not {queue.TASK_MASK, queue.TASK_VERIFY} & done("worker-cpu")


def test_prometheus_reads_the_figures_and_the_rules(deployment: Deployment, proxy, certificate, place):
    """Configured as docs/operations.md says; every rule is evaluated, and none has an error."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed: make image-tools")
    (place / "token").write_text(VALUES["LEDGER_METRICS_TOKEN"])
    scraped = {
        "job_name": "unlearning-ledger", "scheme": "https",
        "authorization": {"credentials_file": str(place / "token")},
        "static_configs": [{"targets": [proxy.address.removeprefix("https://")]}],
        "tls_config": {"ca_file": str(certificate)},
    }  # fmt: skip
    (place / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": [scraped],
        "rule_files": [str(ROOT / "docs" / "alerts.yml")],
    }))  # fmt: skip
    here = f"127.0.0.1:{free_port()}"

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://{here}/api/v1/{path}") as answer:
            return json.load(answer)["data"]

    def evaluated() -> bool:
        try:
            (target,) = ask("targets")["activeTargets"]
            (group,) = ask("rules")["groups"]
        except (OSError, ValueError):  # not yet there, or not yet asked
            return False
        return target["health"] == "up" and all(rule["health"] == "ok" for rule in group["rules"])

    command = ["prometheus", f"--config.file={place / 'prometheus.yml'}", f"--storage.tsdb.path={place / 'tsdb'}"]
    with (place / "prometheus.txt").open("wb") as out:
        process = subprocess.Popen([*command, f"--web.listen-address={here}"], stdout=out, stderr=out)
    try:
        await_that(evaluated, 60.0, (place / "prometheus.txt").read_text)
        time.sleep(3)  # rounds of rules with figures in them
        (group,) = ask("rules")["groups"]
        said = {rule["name"]: (rule["health"], rule["state"]) for rule in group["rules"]}
        assert len(said) == 11
        assert {health for health, _ in said.values()} == {"ok"}, group
        # In an hour somebody will be told that the daily check has not run; everything else is well.
        assert {name for name, (_, state) in said.items() if state != "inactive"} <= {"LogNotChecked"}, said
        ((entries,),) = deployment.database.sql("SELECT count(*) FROM ledger_logentry", "ledger")
        assert ask("query?query=ledger_log_entries")["result"][0]["value"][1] == str(entries)
    finally:
        process.terminate()
        process.wait(30)


def test_everything_stays_within_its_memory_and_ends_when_told(deployment: Deployment):
    held = {name: one.memory() for name, one in deployment.containers.items() if name != "prepare"}
    limits = {name: compose.memory_limit(deployment.given[name]) for name in held}
    print({name: f"{size / 2**20:.0f} MB" for name, size in held.items()})  # noqa: T201 - a figure for the docs
    assert [name for name in held if held[name] > limits[name] / 2] == []
    ended = {name: deployment.containers[name].stop() for name in reversed(held)}
    assert ended == {"web": 0, "worker-cpu": 0, "worker-prover": 0, "witness": 143}


def test_a_backup_is_made_in_an_image(deployment: Deployment, place: Path):
    """It has pg_dump of the database's version."""
    folder = place / "backup"
    folder.mkdir()
    folder.chmod(0o777)
    assert "entries" in deployment.manage("backup", "/backup/first", writable={"/backup": folder})
