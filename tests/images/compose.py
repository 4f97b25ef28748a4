"""`docker/compose.yaml` without a Docker engine: its services as containers of runc, from images that buildah made.

What the file says is what happens: images, users, read-only roots, capabilities, memory limits, volumes, commands,
environment, health checks and the order in which services start. What differs: PostgreSQL and Redis are
Debian's, as processes of this machine; all containers share the network of the process that starts them, with names
of services in /etc/hosts; and where Docker would put an init of its own in front, Debian's tini stands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from tests.stories.nursery import ROOT, await_that

PROGRAMS: Final = ("buildah", "runc", "tini-static")
_INIT: Final = "/sbin/docker-init"
TEXT: Final = (ROOT / "docker" / "compose.yaml").read_text()
PATIENCE: Final = 300.0

_NAMESPACES: Final = ("pid", "ipc", "uts", "mount", "cgroup")
_UNITS: Final = {"m": 1024**2, "g": 1024**3}
_ALWAYS: Final = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777",
                                                                              "size=64m"]},
]  # fmt: skip


def missing() -> str:
    """The first program that is not installed, or nothing."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), "")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def services(values: dict[str, str]) -> dict[str, Any]:
    """The file's services, with `values` for its variables. Raises where one is missing that has no default."""

    def value(found: re.Match[str]) -> str:
        name, kind, words = found.groups()
        given = values.get(name, "")
        if not given and kind == ":?":
            raise AssertionError(f"{name}: {words}")
        return given or (words if kind == ":-" else "")

    def filled(part: Any) -> Any:
        """As compose does it: after YAML has been read, so that an empty value is a text."""
        if isinstance(part, dict):
            return {name: filled(one) for name, one in part.items()}
        if isinstance(part, list):
            return [filled(one) for one in part]
        return re.sub(r"\$\{([A-Z_]+)(?:(:\?|:-)([^}]*))?\}", value, part) if isinstance(part, str) else part

    return dict(filled(yaml.safe_load(TEXT)["services"]))


class Image:
    """An image of buildah's store, mounted."""

    def __init__(self, name: str) -> None:
        described = json.loads(_output("buildah", "inspect", "--type", "image", name))
        self.name, self.config = name, described["OCIv1"]["config"]
        self._container = _output("buildah", "from", "--pull-never", name)
        self.root = Path(_output("buildah", "mount", self._container))

    def close(self) -> None:
        _output("buildah", "umount", self._container)
        _output("buildah", "rm", self._container)


_mounted: dict[str, Image] = {}


def image(name: str) -> Image:
    """Mounted once in a run."""
    if name not in _mounted:
        _mounted[name] = Image(name)
    return _mounted[name]


def unmount() -> None:
    """The end of a run."""
    while _mounted:
        _mounted.popitem()[1].close()


class Container:
    """One service; `given` is its part of the compose file. Its volumes are folders of `place`.

    `writable`: folders of this machine by where they are mounted; others are at /mnt/NAME, to be read.
    """

    def __init__(
        self,
        place: Path,
        name: str,
        given: dict[str, Any],
        *,
        writable: dict[str, Path] | None = None,
        **read: Path,
    ) -> None:
        self.name, self.given, self.image = name, given, image(given["image"])
        self.id = f"ledger-{name}-{os.getpid()}"
        self.out = place / f"{name}.txt"
        self._bundle = place / "bundles" / name
        self._bundle.mkdir(parents=True, exist_ok=True)
        self._state = place / "runc"
        named = (volume.split(":") for volume in given.get("volumes", []))
        self._binds = {inside: self._volume(place, outside, inside) for outside, inside in named}
        self._binds |= {f"/mnt/{inside}": folder for inside, folder in read.items()} | (writable or {})
        self._binds |= {"/etc/hosts": place / "hosts", _INIT: Path("/usr/bin/tini-static")}
        self._running: subprocess.Popen[bytes] | None = None

    def _volume(self, place: Path, name: str, inside: str) -> Path:
        """A named volume: when new, owned as the image has it there."""
        folder = place / "volumes" / name
        if not folder.exists():
            model = self.image.root / inside.lstrip("/")
            folder.mkdir(parents=True)
            os.chown(folder, model.stat().st_uid, model.stat().st_gid)
            folder.chmod(model.stat().st_mode & 0o7777)
        return folder

    def _process(self, command: list[str] | None) -> dict[str, Any]:
        config = self.image.config
        user, _, group = config.get("User", "").partition(":")
        given = [str(word) for word in self.given.get("command", config.get("Cmd", []))]
        environment = [f"{name}={value}" for name, value in self.given.get("environment", {}).items()]
        init = [_INIT, "--"] if self.given.get("init") else []
        kept: list[str] = [] if self.given.get("cap_drop") == ["ALL"] else ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]
        return {
            "terminal": False, "user": {"uid": int(user or 0), "gid": int(group or 0)},
            "args": [*init, *(command or [*config.get("Entrypoint", []), *given])],
            "env": [*config.get("Env", []), f"HOSTNAME={self.name}", *environment],
            "cwd": config.get("WorkingDir") or "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable"), kept),
            "noNewPrivileges": "no-new-privileges:true" in self.given.get("security_opt", []),
        }  # fmt: skip

    def _describe(self, command: list[str] | None) -> None:
        """The container as the OCI's runtime specification wants it."""
        temporary = [
            {"destination": where, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
            for where in self.given.get("tmpfs", [])
        ]
        bound = [
            {"destination": inside, "type": "bind", "source": str(folder),
             "options": ["bind", "ro" if inside.startswith(("/mnt/", "/etc/", "/sbin/")) else "rw"]}
            for inside, folder in self._binds.items()
        ]  # fmt: skip
        limit = memory_limit(self.given)
        (self._bundle / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.2", "process": self._process(command), "hostname": self.name,
            "root": {"path": str(self.image.root), "readonly": bool(self.given.get("read_only"))},
            "mounts": [*_ALWAYS, *temporary, *bound],
            "linux": {
                "namespaces": [{"type": kind} for kind in _NAMESPACES],
                "resources": {"memory": {"limit": limit} if limit else {}},
                "cgroupsPath": f"/{self.id}",
            },
        }))  # fmt: skip

    def _runc(self, *words: str) -> list[str]:
        return ["runc", "--root", str(self._state), *words]

    def start(self) -> None:
        self._describe(None)
        with self.out.open("ab") as out:
            self._running = subprocess.Popen(
                self._runc("run", "--bundle", str(self._bundle), self.id), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self.out.read_text() if self.out.exists() else ""

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit status of the service."""
        assert self._running is not None
        return self._running.wait(patience)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose run --rm`: another command in a container of its own, to its end."""
        self._describe(list(command))
        return subprocess.run(
            self._runc("run", "--bundle", str(self._bundle), self.id), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec`: a command beside the service."""
        return subprocess.run(
            self._runc("exec", self.id, *command), capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def ask_health(self) -> subprocess.CompletedProcess[str]:
        """The health check of the compose file, once."""
        return self.exec(*healthcheck(self.given))

    def await_health(self) -> None:
        """Raises when the health check does not pass in time, or the service ends."""

        def holds() -> bool:
            assert self._running is not None
            assert self._running.poll() is None, f"{self.name} has ended:\n{self.text[-3000:]}"
            return self.ask_health().returncode == 0

        await_that(holds, PATIENCE, lambda: f"{self.name}: {self.ask_health().stderr}\n{self.text[-3000:]}")

    def memory(self) -> int:
        """Bytes that its processes hold now, each shared page once. Raises when it has ended."""
        assert self._running is not None
        assert self._running.poll() is None, f"{self.name} ended with {self._running.poll()}:\n{self.text[-3000:]}"
        pids = json.loads(_output(*self._runc("ps", "--format", "json", self.id)))
        return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after the file's grace; the exit status."""
        assert self._running is not None
        if self._running.poll() is None:
            _output(*self._runc("kill", self.id, "TERM"))
            try:
                return self._running.wait(int(self.given.get("stop_grace_period", "10s").removesuffix("s")))
            except subprocess.TimeoutExpired:
                subprocess.run(self._runc("kill", self.id, "KILL"), check=False, capture_output=True)
        return self._running.wait(30)

    def kill(self) -> None:
        """Whatever is left of it."""
        subprocess.run(self._runc("delete", "--force", self.id), check=False, capture_output=True)
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(signal.SIGKILL)
            self._running.wait(30)


def memory_limit(given: dict[str, Any]) -> int:
    """Bytes; 0 for none."""
    text = given.get("mem_limit", "")
    return int(text[:-1]) * _UNITS[text[-1]] if text else 0


def healthcheck(given: dict[str, Any]) -> list[str]:
    """The words of a service's health check."""
    kind, *words = given["healthcheck"]["test"]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words
