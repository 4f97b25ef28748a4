"""Which packages each image needs: `python docker/subsets.py` writes docker/requirements from requirements.lock.

Versions and hashes are the lock's own; this only leaves out what an image does not use, by following what installed
packages say that they require. Run it in the project's environment whenever the lock changes; a test compares.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docker" / "requirements"

_WITNESS: Final = ["cryptography", "pydantic", "pynacl"]
_LEDGER: Final = [
    *_WITNESS, "boto3", "celery[redis]", "dj-database-url", "django", "django-pgtrigger", "django-unfold",
    "djangorestframework", "drf-spectacular", "drf-spectacular-sidecar", "gunicorn", "http-message-signatures",
    "httpx2", "opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk", "prometheus-client",
    "psycopg[binary]", "python-json-logger", "rich", "segno", "typst", "webauthn", "whitenoise",
]  # fmt: skip
_PROVER: Final = [
    *_LEDGER, "ezkl", "numpy", "onnx", "peft", "safetensors", "scikit-learn", "timm", "torchvision", "transformers",
    "zksnake",
]  # fmt: skip
IMAGES: Final = {"witness": _WITNESS, "ledger": _LEDGER, "prover": _PROVER}

#: Of Debian 12, which the images have: not the one that runs this. Redis wants a package more there.
_PYTHON: Final = {"python_version": "3.11", "python_full_version": "3.11.2"}
#: Comes by itself, in the build that is right for the machine; see the Makefile.
_TORCH: Final = re.compile(r"torch|triton|nvidia-.*|cuda-.*")


def main() -> int:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for image in IMAGES:
        (FOLDER / f"{image}.txt").write_text(subset(image))
    return 0


def subset(image: str) -> str:
    """The requirements of an image, with hashes."""
    lock = _locked()
    names = _closure(IMAGES[image])
    unknown = sorted(name for name in names if name not in lock)
    if unknown:
        raise SystemExit(f"requirements.lock lacks {', '.join(unknown)}, which the image {image} needs")
    head = f"# For the image {image}, by docker/subsets.py from requirements.lock: do not edit.\n"
    return head + "".join(lock[name] for name in sorted(names))


def _locked() -> dict[str, str]:
    """Blocks of the lock by package."""
    blocks: dict[str, str] = {}
    name = ""
    for line in (ROOT / "requirements.lock").read_text().splitlines(keepends=True):
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            name = str(canonicalize_name(line.split("==")[0]))
            blocks[name] = ""
        blocks[name] += line
    return blocks


def _closure(roots: list[str]) -> set[str]:
    found: set[str] = set()
    waiting = [Requirement(root) for root in roots]
    done: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        name = str(canonicalize_name(wanted.name))
        if _TORCH.fullmatch(name):
            continue
        found.add(name)
        for extra in ("", *wanted.extras):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            try:
                needed = [Requirement(text) for text in requires(name) or []]
            except PackageNotFoundError as error:
                raise SystemExit(f"{name} is not installed here: run this in the project's environment") from error
            waiting += [
                one for one in needed if one.marker is None or one.marker.evaluate(_PYTHON | {"extra": extra})
            ]
    return found


if __name__ == "__main__":
    sys.exit(main())
