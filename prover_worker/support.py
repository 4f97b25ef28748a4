"""A file for support: what this agent is, what it has in its folder, what it did; no secrets.

The folder is described, not copied: names, sizes and times of its files. Copied are the logs, and from the JSON
files only members that are named here. Keys, seeds, tokens, weights, samples, solutions and proofs stay.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from prover_worker.agent_log import versions
from prover_worker.agent_state import Folder
from prover_worker.memory import free_bytes

#: Members of JSON files that are not secret. What is not named here is left out.
_SHOWN: Final = {
    "folder.json": ("schema", "holder"),
    "agent.json": ("server", "client", "trust", "enrolled", "maxDrop"),
    "logged.json": ("index", "leafHash", "leaf_hash"),
    "claim.json": ("index", "leafHash", "leaf_hash"),
    "challenge.json": ("index", "leafHash", "leaf_hash"),
    "proof.json": ("index", "leafHash", "leaf_hash"),
    "damage.json": (
        "before", "after", "drop", "samples", "left_out", "perplexity_before", "perplexity_after", "maxDrop",
        "forced",
    ),
    "figures.json": ("wall_seconds", "cpu_seconds", "peak_mb", "proofs", "bundle_bytes", "chunks"),
}  # fmt: skip


def write_bundle(folder: Folder, out: Path | None = None) -> Path:
    """Write the bundle, a .tar.gz, into the folder `out`, or to that file; return its path."""
    now = datetime.now(UTC)
    path = out or Path.cwd()
    if path.is_dir():
        path = path / f"unlearning-agent-support-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    overview = {
        "madeAt": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "versions": versions(),
        "processors": os.cpu_count(),
        "freeMemoryBytes": free_bytes(),
        "freeDiskBytes": _free_disk(folder.path),
        "said": dict(_said(folder.path)),
        "files": list(_listed(folder.path)),
    }
    with Folder(path.parent).appearing(path.name) as temporary, tarfile.open(temporary, "w:gz") as archive:
        _add(archive, "overview.json", json.dumps(overview, indent=1).encode() + b"\n")
        for log in sorted(folder.path.glob("logs/agent.log*")):
            _add(archive, f"logs/{log.name}", log.read_bytes())
    return path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, BytesIO(data))


def _free_disk(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _said(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(root.rglob("*.json")):
        if path.name in _SHOWN:
            value = json.loads(path.read_bytes())
            yield str(path.relative_to(root)), {name: value[name] for name in _SHOWN[path.name] if name in value}


def _listed(root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(root.rglob("*")):
        if path.is_file():
            status = path.stat()
            changed = datetime.fromtimestamp(status.st_mtime, UTC)
            yield {
                "name": str(path.relative_to(root)),
                "bytes": status.st_size,
                "changed": f"{changed:%Y-%m-%dT%H:%M:%SZ}",
            }
