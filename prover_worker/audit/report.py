"""What was checked and what came of it, for people (a table) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ledger.bundle.errors import BundleFormatError
from ledger.statements.errors import PolicyError, StatementError
from ledger.tlog.errors import TlogError
from prover_worker.errors import AuditError, AuditUnavailable, ProverError

State = Literal["holds", "fails", "not checked", "nothing to check", "not reached"]

#: The steps by name, in order, with what it means when one fails.
STEPS: Final = {
    "bundle": "The file was damaged or made by something else than a ledger; ask for it again.",
    "checkpoint": "The checkpoint was not signed by the log whose key you gave: this may be another log.",
    "witnesses": "Those you trust have not seen this history; the provider may show others another one.",
    "inclusion": "Something in this bundle does not stand in the log, or not there: do not rely on any of it.",
    "kept": "The log was rewritten since you kept that checkpoint, or the bundle does not show that it was not.",
    "signatures": "A statement was not made by whom it names: it proves nothing against that party.",
    "events": "The log breaks the protocol's order, so what follows from it does not count.",
    "policy": "The log claims more than its own policy, verdicts or dates give.",
    "challenges": "Random numbers were not drawn as prescribed, so proofs under them do not count.",
    "files": "A file is not the one that was logged, or is missing.",
    "masks": "What was proved is not what the mask asked for.",
    "proofs": "A proof, or the verdict on one, is false: the model it is about was not shown to have forgotten.",
    "erasure": "What is said about erased requests contradicts the log.",
}
SIGNS: Final = {"holds": "✓", "fails": "✗", "not checked": "–", "nothing to check": "·", "not reached": " "}


@dataclass
class Report:
    """Outcome by step, what was not checked, and figures."""

    states: dict[str, State] = field(default_factory=lambda: dict.fromkeys(STEPS, "not reached"))
    details: dict[str, str] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None
    reason: str | None = None

    def say(self, step: str, detail: str, state: State = "holds") -> None:
        """Note how a step went."""
        assert step in STEPS
        self.states[step], self.details[step] = state, detail

    def fail(self, step: str, reason: str) -> None:
        """Note the first thing that does not hold."""
        self.say(step, reason, "fails")
        self.failed, self.reason = step, reason

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What goes wrong inside is this step's failure, and raised as AuditError (or BundleFormatError)."""
        try:
            yield
        except AuditUnavailable:
            raise
        except BundleFormatError as error:
            self.fail(name, str(error))
            raise
        except PolicyError as error:
            self.fail("policy", str(error))
            raise AuditError(str(error)) from error
        except (StatementError, TlogError, ProverError) as error:
            self.fail(name, str(error))
            raise AuditError(str(error)) from error

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "holds": self.failed is None,
            "failed": self.failed,
            "reason": self.reason,
            "checks": [
                {"name": name, "state": state, "detail": self.details.get(name, "")}
                for name, state in self.states.items()
            ],
            "notChecked": self.unchecked,
            **self.figures,
        }

    def show(self, console: Console) -> None:
        """For people: a table, then what it comes to."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, state in self.states.items():
            style = {"holds": "green", "fails": "bold red", "not checked": "yellow"}.get(state, "dim")
            detail = self.details.get(name, "")
            table.add_row(SIGNS[state], f"[{style}]{name}[/]", escape(detail or state))
        console.print(table)
        for text in self.unchecked:
            console.print(f"! not checked: {text}", style="yellow", markup=False)
        if self.failed is None:
            console.print("everything that was checked holds", style="bold green")
        else:
            console.print(f"✗ {self.failed}: {self.reason}", style="bold red", markup=False)
            console.print(STEPS[self.failed], markup=False)
