"""A client of the stories: a folder, a personalised model, and the agent's command line."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from tests.stories.nursery import Nursery, Process
from tests.stories.provider import Officer, Provider

AGENT, ADVERSARY = "prover_worker.agent", "prover_worker.adversary"


class Client:
    """`model` is a folder with personal.safetensors and data.npz; `cache` keeps proving keys for all clients."""

    def __init__(self, nursery: Nursery, folder: Path, model: Path, cache: Path) -> None:
        self.nursery, self.folder, self.model, self.cache = nursery, folder, model, cache
        self.state = folder / "state"
        self.handle = self.token = ""
        self._numbers = itertools.count(1)

    def start(self, *command: Any, module: str = AGENT, cheat: str = "", options: tuple[str, ...] = ()) -> Process:
        """Start a command of the agent, or of a dishonest one."""
        mode = ["--cheat", cheat] if cheat else []
        standing = ["--state", self.state, "--cache", self.cache, "--progress", "json", *options]
        out = self.folder / f"{next(self._numbers):02d}-{command[0]}.txt"
        return self.nursery.start(ADVERSARY if cheat else module, *mode, *standing, *command, out=out)

    def call(self, *command: Any, expect: int = 0, **how: Any) -> str:
        """A command from beginning to end; its output without the progress lines."""
        process = self.start(*command, **how)
        status = process.wait()
        assert status == expect, f"{command} ended with {status}:\n{process.text[-3000:]}"
        return "".join(line for line in process.text.splitlines(keepends=True) if not line.startswith('{"stage"'))

    def invited(self, officer: Officer, name: str, address: str) -> tuple[str, ...]:
        """Be invited; the command that enrols."""
        answer = officer.post("clients", name=name)
        self.handle, self.token = answer["client"], answer["token"]
        return "enrol", "--server", address, "--client", self.handle, "--token", answer["token"]

    @property
    def committing(self) -> tuple[Any, ...]:
        """The command that commits. Limits of damage are one story's subject; a model this small pays any price."""
        files = ("--weights", self.model / "personal.safetensors", "--data", self.model / "data.npz")
        return "commit", *files, "--samples", 60, "--max-drop", 100

    def join(self, provider: Provider, officer: Officer, name: str, *options: str, address: str = "") -> None:
        """Be invited, enrol, and commit to the personalised model."""
        self.call(*self.invited(officer, name, address or provider.address))
        self.call(*self.committing, *options)

    def attempt(self, number: int = 1) -> Path:
        """The folder of an attempt at the only order of this client."""
        (order,) = (self.state / "orders").iterdir()
        return order / str(number)

    def figures(self, number: int = 1) -> dict[str, Any]:
        return json.loads((self.attempt(number) / "figures.json").read_text())
