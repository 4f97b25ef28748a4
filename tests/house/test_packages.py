"""The bill of materials says what is installed, all of it; an audit that could look nothing up is no clean one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    text = load("sbom").text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return dict(json.loads(text))


def test_every_pinned_package_is_listed(bill: dict[str, Any]) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", lock, re.MULTILINE))
    assert len(pinned) == len(re.findall("==", lock)) - 1, "torch in the comment, and one line for each package"
    torch = re.search(r"torch==(\S+)", (ROOT / "Makefile").read_text())
    assert torch is not None
    assert {one["name"]: one["version"] for one in bill["components"]} == pinned | {"torch": torch[1]}
    digests = [
        each["content"]
        for one in bill["components"]
        for place in one.get("externalReferences", [])
        for each in place["hashes"]
    ]
    assert sorted(digests) == sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))


def test_who_needs_whom(bill: dict[str, Any]) -> None:
    needs = {one["ref"].partition("@")[0]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert any(each.startswith("pkg:pypi/sqlparse@") for each in needs["pkg:pypi/django"])
    assert len(needs["unlearning-ledger"]) == len(bill["components"])


def test_an_exchanged_package_is_refused(tmp_path: Path) -> None:
    """The attack: after a version was pinned, its file is another one. Installed as the Makefile installs."""
    makefile = (ROOT / "Makefile").read_text()
    assert (
        "pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock"
        in makefile
    )
    wheel = tmp_path / "harmless-1.0-py3-none-any.whl"

    def build(code: str) -> str:
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr("harmless.py", code)
            file.writestr(
                "harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n"
            )
            file.writestr(
                "harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            file.writestr("harmless-1.0.dist-info/RECORD", "")
        return hashlib.sha256(wheel.read_bytes()).hexdigest()

    def install() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path), "--no-deps"]
        command += ["--require-hashes", "-r", str(tmp_path / "lock"), "--target", str(tmp_path / "into")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    (tmp_path / "lock").write_text(f"harmless==1.0 --hash=sha256:{build('kind = True')}\n")
    build("kind = False")
    refused = install()
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "into").exists()


def test_packages_without_a_licence_are_those_that_state_none(bill: dict[str, Any]) -> None:
    silent = {one["name"] for one in bill["components"] if "licenses" not in one}
    assert silent <= {"axe-playwright-python", "ezkl", "zksnake"}


def test_an_audit_that_looks_nothing_up_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens on port 9 of this machine, as where there is no network."""
    audit = load("audit")
    assert audit.main(["-s", "osv", "--osv-url", "http://127.0.0.1:9/", "--timeout", "2"]) == 3
    assert "NOT AUDITED" in capsys.readouterr().out
    fine = {"name": "fine", "version": "1", "vulns": []}
    hurt = {"name": "hurt", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    unknown = {"name": "unknown", "skip_reason": "not found"}
    assert audit.judge([fine])[0] == 0
    assert audit.judge([fine, hurt, unknown])[0] == 1
    assert "CVE-1, mended in 2" in audit.judge([fine, hurt])[1][0]
    assert audit.judge([fine, unknown])[0] == 3
    assert audit.judge([])[0] == 3
