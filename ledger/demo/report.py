"""Tables and the closing JSON line of the demonstration."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from ledger.demo.story import Participant, Story

_STAGES = (("before", "before"), ("masked", "masked, not compensated"), ("compensated", "unlearned"))


def accuracy_table(clients: list[Participant], rows: list[dict[str, float]], label: int) -> Table:
    """Forget and personal accuracy per client and stage, in per cent."""
    table = Table(
        "client", "stage", f"class {label}\n(provider's)", f"class {label}\n(own)", "others\n(own)",
        title=f"Accuracy in %. Class {label}, as the provider's and as the client's own\n"
        "test images show it, is to be forgotten; the others should stay.",
    )  # fmt: skip
    for column in table.columns[2:]:
        column.justify = "right"
    for client, row in zip(clients, rows, strict=True):
        for key, words in _STAGES:
            if f"{key}_personal" in row:
                values = [
                    f"{100 * row[f'{key}_{name}']:.1f}" for name in ("forget_global", "forget_own", "personal")
                ]
                table.add_row(f"{client.number} ({client.shift})" if key == "before" else "", words, *values)
            else:
                table.add_row("", f"[red]{words}[/red]", "not proved", "", "")
        table.add_section()
    return table


def proof_table(story: Story, audit: dict[str, Any], weights_per_chunk: int) -> Table:
    """Cost of proving and verifying per client."""
    table = Table(
        "client", "verdict", "chunks", "proving\ns", "CPU-ms\n/ weight", "peak\nMB", "proof bytes\n/ chunk",
        "verify ms\n/ chunk", title="Proofs",
    )  # fmt: skip
    checked = {item["client"]: item for item in audit["verifications"]}
    for client in story.clients:
        figures, check = story.figures(client), checked[client.handle]
        table.add_row(
            f"{client.number} ({client.shift})",
            f"{client.verdicts[-1]}{f' ×{len(client.verdicts)}' if len(client.verdicts) > 1 else ''}",
            str(figures["chunks"]),
            f"{figures['wall_seconds']:.1f}",
            f"{cpu_ms_per_weight(figures, weights_per_chunk):.2f}",
            f"{figures['peak_mb']:.0f}",
            f"{figures['bundle_bytes'] / figures['chunks']:.0f}",
            f"{1000 * check['seconds'] / check['chunks']:.0f}",
        )
    return table


def cpu_ms_per_weight(figures: dict[str, Any], weights_per_chunk: int) -> float:
    """CPU time of all proofs, range proofs included, per weight of the touched chunks."""
    return float(1000 * figures["cpu_seconds"] / (figures["chunks"] * weights_per_chunk))


def summary(story: Story, audit: dict[str, Any], seconds: float, weights_per_chunk: int) -> dict[str, Any]:
    """The closing line: figures of the honest clients, medians where there are several."""
    *honest, cheater = story.clients
    made = [story.figures(client) for client in honest]
    checks = audit["verifications"]
    caught = sum(verdict == "rejected" for verdict in cheater.verdicts)
    return {
        "demo_seconds": round(seconds, 1),
        "prove_cpu_ms_per_weight": round(max(cpu_ms_per_weight(f, weights_per_chunk) for f in made), 3),
        "prove_peak_mb": round(max(f["peak_mb"] for f in made)),
        "proof_bytes_per_chunk": round(max(f["bundle_bytes"] / f["chunks"] for f in made)),
        "verify_ms_per_chunk": round(1000 * max(c["seconds"] / c["chunks"] for c in checks), 1),
        "cheats_caught": caught,
        "cheats_tried": len(cheater.verdicts),
    }


def closing_words(console: Console, story: Story, officer: dict[str, str]) -> None:
    """Where everything is."""
    console.print(
        f"\naudit bundle   {story.bundle}"
        f"\ncheck it       .venv/bin/python -m prover_worker.audit {story.bundle}"
        f"\nadmin          run [bold]make serve[/bold], then http://127.0.0.1:8000/admin/"
        f"\nlog in as      {officer['name']}  password {officer['password']}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
