"""The demonstration's story, one method a chapter. Clients act through the agent's command line, officers through
the REST API; this module touches the database only to prepare the provider's side, as an operator would.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ledger.demo.officer import DemoError, OfficerApi, ensure_officer
from ledger.demo.profiles import PROFILES
from ledger.services import Services

SHIFTS: Final = ("rotation", "inversion", "noise")
FORGET: Final = {"digits": 8, "fashion-mnist": 8}
#: Points of accuracy that the clients let an order cost. The small model pays more than the agent's default of 5:
#: the client with inverted images loses some 6.
MAX_DROP: Final = "10"
_MASK_PATIENCE = 120.0


@dataclass
class Participant:
    """One client of the story. Later runs find its model and data, in `own`, again; `folder` is this run's."""

    number: int
    shift: str
    own: Path
    folder: Path
    handle: str = ""
    verdicts: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """The agent's folder."""
        return self.folder / "agent"


class Story:
    """State of one run. `cheats` are the ways in which the last client cheats, one attempt each.

    `directed`: masks come with forget directions, which the clients must follow.
    """

    def __init__(
        self, console: Console, dataset: str, profile: str, cheats: tuple[str, ...], *, directed: bool = False
    ) -> None:
        self.console, self.dataset, self.cheats, self.directed = console, dataset, cheats, directed
        self.profile = PROFILES[profile]
        self.base: Path = settings.LEDGER_DATA_DIR / "demo"
        self.run = self.base / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
        self.model_folder = self.base / "models" / f"{dataset}-{profile}"
        self.release_folder = self.base / "releases" / (f"{profile}-directed" if directed else profile)
        personal = self.base / "personal" / f"{dataset}-{profile}"
        self.clients = [
            Participant(i + 1, shift, personal / shift, self.run / f"client-{i + 1}")
            for i, shift in enumerate(SHIFTS)
        ]
        self.window = ""
        self.model = ""

    @property
    def bundle(self) -> Path:
        """Where the audit bundle is written."""
        return self.run / "audit-bundle.zip"

    def title(self, number: int, text: str) -> None:
        """Announce a chapter."""
        self.console.print(f"\n[bold]{number}. {text}[/bold]")

    def say(self, text: str) -> None:
        """One line of the story."""
        self.console.print(f"   {text}", highlight=False, soft_wrap=True)

    # chapters

    def prepare(self) -> dict[str, str]:
        """Migrate, make keys and the officer."""
        self.run.mkdir(parents=True)
        call_command("migrate", verbosity=0)
        call_command("init", stdout=io.StringIO(), stderr=io.StringIO())
        officer = ensure_officer()
        self.say("embedded PostgreSQL is up, tables and append-only triggers are in place, keys are made")
        return officer

    def train(self) -> None:
        """The provider's global model, its circuit release, and the clients' personalised models."""
        if (self.model_folder / "targets.json").exists() and (self.model_folder / "samples.csv").exists():
            self.say(f"global model kept from an earlier run: {self.model_folder}")
        else:
            self._train()
        if not (self.release_folder / "predicate.json").exists():
            self.say("compiling the two circuits and making a development SRS …")
            self._python(
                "prover_worker.release", "--out", str(self.release_folder), *self.profile.release,
                *(self.profile.directed_release if self.directed else ()), quiet=True,
            )  # fmt: skip
        call_command("register_circuit", str(self.release_folder), stdout=io.StringIO())
        out = io.StringIO()
        name, size = f"{self.dataset} ViT, {self.run.name}", self.profile.block_size
        call_command(
            "register_model", str(self.model_folder), name=name, dataset=self.dataset, block_size=size, stdout=out
        )
        self.model = out.getvalue().split()[1]
        for client in self.clients:
            if client.own.exists():
                self.say(f"client {client.number}'s model kept: {client.own}")
            else:
                self._personalise(client)

    def _train(self) -> None:
        for client in self.clients:
            shutil.rmtree(client.own, ignore_errors=True)  # made from another model
        shape = []
        if self.profile.architecture:
            file = self.run / "architecture.json"
            file.write_text(json.dumps(self.profile.architecture))
            shape = ["--architecture", str(file)]
        self._python(
            "unlearning", "train", "--dataset", self.dataset, "--out", str(self.model_folder), *shape,
            *self.profile.training,
        )  # fmt: skip

    def _personalise(self, client: Participant) -> None:
        draft = client.own.with_suffix(".draft")  # until it is whole
        self._python(
            "unlearning", "personalise", "--global", str(self.model_folder / "global.safetensors"),
            "--architecture", str(self.model_folder / "architecture.json"), "--dataset", self.dataset,
            "--client", str(client.number - 1), "--clients", str(len(self.clients)),
            "--shift", client.shift, "--out", str(draft), *self.profile.personalising,
        )  # fmt: skip
        draft.rename(client.own)

    def enrol(self, officer: OfficerApi, server: str) -> None:
        """Invitations, keys, commitments: before any mask exists."""
        for client in self.clients:
            invited = officer.post(
                "clients", name=f"Client {client.number}, {client.shift} (run {self.run.name[-4:]})"
            )
            client.handle = invited["client"]
            self._agent(client, "enrol", "--server", server, "--client", client.handle, "--token", invited["token"])
            done = self._agent(
                client, "commit", "--weights", str(client.own / "personal.safetensors"),
                "--data", str(client.own / "data.npz"), "--max-drop", MAX_DROP,
            )  # fmt: skip
            self.say(f"client {client.number} ({client.shift}): enrolled, {done}")

    def order(self, officer: OfficerApi) -> None:
        """A request is filed, approved, its window closed; the worker computes the mask; orders go out."""
        label = FORGET[self.dataset]
        request = officer.post(
            "requests",
            regulation="gdpr",
            subject=f"subject-{uuid.uuid4().hex[:8]}@example.org",
            forget={"dataset": self.dataset, "class": label},
        )
        self.say(f"deletion request {request['uuid'][:8]} filed: forget class {label}, due {request['dueAt'][:10]}")
        officer.post(f"requests/{request['uuid']}/identity", method="email-link", result="verified")
        officer.post(f"requests/{request['uuid']}/decision", decision="approved", reason="identity-verified")
        recipe = {"directions": dict(self.profile.directions)} if self.directed else {}
        window = officer.post("windows", model=self.model, requests=[request["uuid"]], maskConfig=recipe)
        self.window = window["uuid"]
        officer.post(f"windows/{self.window}/close")
        self.say("approved; its window is closed and in the log")
        columns = (TextColumn("   {task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as bars:
            task = bars.add_task("worker: mask", total=1.0)

            def look(answer: dict[str, Any]) -> None:
                for job in answer["jobs"]:
                    bars.update(task, completed=job["progress"], description=f"worker: mask, {job['message']}")

            answer = officer.await_window(self.window, "masked", _MASK_PATIENCE, look)
        more = " with a forget direction in every block that it touches" if self.directed else ""
        self.say(f"mask of {answer['masked']} weights{more} logged; {len(answer['orders'])} orders issued")

    def unlearn(self) -> None:
        """Honest clients obey; the last one cheats. Each must get the verdict it deserves."""
        *honest, cheater = self.clients
        for client in honest:
            self.say(f"client {client.number} ({client.shift}) compensates, claims, proves:")
            self._unlearn(client, "prover_worker.agent", expected="accepted")
        for number, cheat in enumerate(self.cheats):
            self.say(f"client {cheater.number} ({cheater.shift}) [red]cheats: {cheat}[/red]")
            again = ["--again"] if number else []
            self._unlearn(cheater, "prover_worker.adversary", "--cheat", cheat, expected="rejected", more=again)

    def certify(self, officer: OfficerApi) -> None:
        """Certificates, the audit bundle, and its check without the server."""
        answer = officer.post(f"windows/{self.window}/certify")
        if len(answer["certificates"]) != 1:
            raise DemoError(f"{len(answer['certificates'])} certificates were issued; expected one")
        self.say(f"certificate logged at index {answer['certificates'][0]['index']}")
        self.bundle.write_bytes(officer.fetch(f"windows/{self.window}/bundle"))
        size = self.bundle.stat().st_size / 1e6
        self.say(f"audit bundle of {size:.1f} MB written to {self.bundle}")

    def audit(self) -> dict[str, Any]:
        """Run the offline verifier on the bundle, with keys taken from the provider's own folder."""
        from ledger import keys
        from ledger.statements.keys import public_hex

        text = self._python(
            "prover_worker.audit", str(self.bundle), "--json", "--log-vkey", keys.log_signer().vkey,
            "--provider-key", public_hex(keys.provider_key()), capture=True,
        )  # fmt: skip
        return json.loads(text.splitlines()[-1])

    def measure(self) -> list[dict[str, float]]:
        """Accuracies per client: before, after masking, after compensation (absent for the cheater)."""
        label = FORGET[self.dataset]
        wanted, places = [], []
        for client in self.clients:
            attempt = next((client.state / "orders").glob("*/1"))
            stages: dict[str, tuple[Path, Path | None]] = {
                "before": (client.state / "commitment" / "model.safetensors", None)
            }
            stages["masked"] = (stages["before"][0], attempt / "mask.bin")
            if (attempt / "unlearned.safetensors").exists():
                stages["compensated"] = (attempt / "unlearned.safetensors", None)
            for stage, (weights, mask) in stages.items():
                for name, data, rule in (
                    ("forget_global", self.model_folder / "test.npz", {"onlyClass": label}),
                    ("forget_own", client.own / "test.npz", {"onlyClass": label}),
                    ("personal", client.own / "test.npz", {"withoutClass": label}),
                ):
                    item = {"weights": str(weights), "data": str(data), **rule}
                    wanted.append(item | ({"mask": str(mask)} if mask else {}))
                    places.append((client.number - 1, f"{stage}_{name}"))
        text = self._python(
            "unlearning", "measure", "--architecture", str(self.model_folder / "architecture.json"),
            stdin=json.dumps(wanted), capture=True,
        )  # fmt: skip
        rows: list[dict[str, float]] = [{} for _ in self.clients]
        for (row, name), value in zip(places, json.loads(text), strict=True):
            rows[row][name] = value
        return rows

    def figures(self, client: Participant) -> dict[str, Any]:
        """What the agent measured while proving its last attempt."""
        files = sorted((client.state / "orders").glob("*/*/figures.json"))
        return json.loads(files[-1].read_text())

    # processes

    def _unlearn(
        self, client: Participant, module: str, *mode: str, expected: str, more: list[str] | None = None
    ) -> None:
        started = [module, *mode, *self._options(client), "run", *(more or [])]
        text = self._python(*started, capture=True, good=(0, 1))
        lines = text.splitlines()
        verdict = next((line.split(": ")[1].split(" ")[0] for line in lines if line.startswith("order ")), "none")
        client.verdicts.append(verdict)
        client.failing = [line.strip() for line in lines if line.startswith("  ")]
        for line in client.failing[:3]:
            self.say(f"  {line}")
        if len(client.failing) > 3:
            self.say(f"  … and {len(client.failing) - 3} more chunks")
        colour = "green" if verdict == expected else "red"
        self.say(f"verdict in the log: [{colour}]{verdict}[/{colour}]")
        if verdict != expected or (expected == "rejected" and not client.failing):
            raise DemoError(f"client {client.number} was {verdict}; expected {expected}")

    def _agent(self, client: Participant, *command: str) -> str:
        return self._python("prover_worker.agent", *self._options(client), *command, capture=True).strip()

    def _options(self, client: Participant) -> list[str]:
        bars = "bar" if self.console.is_terminal else "none"
        return ["--state", str(client.state), "--cache", str(self.base / "keys"), "--progress", bars]

    def _python(
        self, module: str, *arguments: str, stdin: str | None = None, capture: bool = False, quiet: bool = False,
        good: tuple[int, ...] = (0,),
    ) -> str:  # fmt: skip
        """Run a module as its user would; its progress bars go to the terminal."""
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=stdin, text=True, cwd=settings.BASE_DIR, env=environment, check=False,
            stdout=subprocess.PIPE if capture or quiet else None,
            stderr=subprocess.PIPE if quiet else None,
        )  # fmt: skip
        if done.returncode not in good:
            raise DemoError(
                f"`python -m {module}` ended with status {done.returncode}: {(done.stderr or '')[-300:]}"
            )
        return done.stdout or ""


def tell(story: Story, port: int) -> tuple[dict[str, Any], list[dict[str, float]], dict[str, str]]:
    """All chapters in order. Returns audit figures, accuracies per client, and the officer's login."""
    story.title(1, "The provider's side: database, keys")
    officer = story.prepare()
    story.title(2, "A global model, and three clients that make it their own")
    story.train()
    with Services(port) as services:
        api = OfficerApi(services.address, officer)
        story.title(3, "Clients enrol and commit to weights and curvature, before any mask exists")
        story.enrol(api, services.address)
        story.title(4, "Somebody asks to be forgotten")
        story.order(api)
        story.title(5, "Clients unlearn and prove it; one of them does not")
        story.unlearn()
        services.check()
        story.title(6, "Certificate, and an audit without the server")
        story.certify(api)
    audit = story.audit()
    return audit, story.measure(), officer
