"""The language-model case as a page: tables of mean ± standard deviation over seeds, and a plot."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from unlearning.reproduce import plots
from unlearning.reproduce.figures import spread

_NAMES: Final = {
    "before": "before",
    "mask_only": "mask only",
    "plain_obs": "plain Group-OBS, full blocks",
    "integer_obs": "plain Group-OBS, rank 8, integers",
    "forget_safe": "forget-safe, orthogonal",
    "forget_safe_push": "forget-safe, with a push",
    "forget_safe_integer": "forget-safe, with a push, rank 8, integers",
    "gradient_ascent": "gradient ascent, 1 epoch",
    "scrub": "SCRUB, 2 epochs",
    "exact": "exact retraining",
}
_CURVES: Final = ("mask_only", "plain_obs", "forget_safe", "forget_safe_push")
PROPOSED: Final = "forget_safe_push"


def write(
    out: Path, seeds: Sequence[int], setting: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Write language.md and language.svg into `out`; return the figures that the command prints.

    `found` is what one_seed gave for each of `seeds`.
    """
    out.mkdir(parents=True, exist_ok=True)
    _plot(out / "language.svg", found)
    page = _PAGE.format(
        seeds=",".join(map(str, seeds)),
        seed_count=len(seeds),
        python=".".join(map(str, sys.version_info[:3])),
        method_rows=_methods(found),
        budget_rows=_budgets(found),
        judgement=_judgement(found),
        **setting,
    )
    (out / "language.md").write_text(page, encoding="utf-8")
    mean = {name: _mean(found, name) for name in _NAMES}
    return {
        "forget_acc": mean[PROPOSED]("held_out_acc"),
        "personal_acc": mean[PROPOSED]("personal_acc"),
        "exact_forget_acc": mean["exact"]("held_out_acc"),
        "exact_personal_acc": mean["exact"]("personal_acc"),
        "plain_obs_forget_acc": mean["plain_obs"]("held_out_acc"),
        "plain_obs_personal_acc": mean["plain_obs"]("personal_acc"),
        "mia_auc": mean[PROPOSED]("mia_auc"),
        "seeds": list(seeds),
    }


def _mean(found: Sequence[Mapping[str, Any]], method: str) -> Callable[[str], float]:
    return lambda figure: round(float(np.mean([one["methods"][method][figure] for one in found])), 4)


def _methods(found: Sequence[Mapping[str, Any]]) -> str:
    columns = (
        ("held_out_acc", 100, 1),
        ("held_out_perplexity", 1, 2),
        ("personal_acc", 100, 1),
        ("personal_perplexity", 1, 2),
        ("retain_acc", 100, 1),
        ("mia_auc", 100, 1),
        ("kl_forget", 1, 3),
        ("kl_personal", 1, 3),
    )
    lines = []
    for name, title in _NAMES.items():
        cells = [
            spread([one["methods"][name][column] for one in found], scale, digits)
            for column, scale, digits in columns
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _budgets(found: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for budget in dict.fromkeys(row["budget"] for row in found[0]["budgets"]):
        cells = []
        for method in _CURVES:
            forget, own = (_over(found, budget, method, figure) for figure in ("forget_acc", "personal_acc"))
            cells.append(f"{spread(forget)} / {spread(own)}")
        lines.append(f"| {100 * budget:g} % | {' | '.join(cells)} |")
    return "\n".join(lines)


def _over(found: Sequence[Mapping[str, Any]], budget: float, method: str, figure: str) -> list[float]:
    return [
        row[figure] for one in found for row in one["budgets"] if (row["budget"], row["method"]) == (budget, method)
    ]


def _plot(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    budgets = list(dict.fromkeys(row["budget"] for row in found[0]["budgets"]))
    curves = {}
    for method in _CURVES:
        points = [
            [100 * np.asarray(_over(found, budget, method, figure)) for figure in ("forget_acc", "personal_acc")]
            for budget in budgets
        ]
        curves[_NAMES[method]] = plots.Curve(
            [x.mean() for x, _ in points],
            [y.mean() for _, y in points],
            [x.std() for x, _ in points],
            [y.std() for _, y in points],
            [f"{100 * budget:g} %" for budget in budgets],
        )
    for method in ("before", "exact"):
        x, y = (
            100 * np.asarray([one["methods"][method][figure] for one in found])
            for figure in ("held_out_acc", "personal_acc")
        )
        curves[_NAMES[method]] = plots.Curve([x.mean()], [y.mean()], [x.std()], [y.std()])
    axes = ("next-byte accuracy on Go (to forget), %", "next-byte accuracy on Rust (personal), %")
    plots.trade_off(path, curves, axes, "Forgetting a language: budgets of masked weights")


def _judgement(found: Sequence[Mapping[str, Any]]) -> str:
    """What the figures say, in sentences that are made from them."""
    forget = {name: 100 * _mean(found, name)("held_out_acc") for name in _NAMES}
    own = {name: 100 * _mean(found, name)("personal_acc") for name in _NAMES}
    gap = forget["before"] - forget["exact"]

    def share(name: str) -> str:
        return f"{100 * (forget['before'] - forget[name]) / gap:.0f} %" if gap > 0 else "no meaningful share"

    return (
        f"Exact retraining takes {gap:.1f} points of accuracy on Go from the client's model. The mask alone takes "
        f"{share('mask_only')} of that, and costs {own['before'] - own['mask_only']:.1f} points on Rust. Plain "
        f"Group-OBS brings Rust back to {own['plain_obs']:.1f} % (exact: {own['exact']:.1f} %) and Go with it: "
        f"what stays forgotten is {share('plain_obs')}. Forget-safe compensation keeps {share('forget_safe')} "
        f"forgotten at {own['forget_safe']:.1f} % on Rust, and with a push {share('forget_safe_push')} at "
        f"{own['forget_safe_push']:.1f} %. The integer form with rank 8 is "
        f"{own['integer_obs'] - own['plain_obs']:+.1f} points from full blocks on Rust and "
        f"{forget['integer_obs'] - forget['plain_obs']:+.1f} on Go; with directions and push it is at "
        f"{forget['forget_safe_integer']:.1f} % on Go and {own['forget_safe_integer']:.1f} % on Rust, where the "
        f"mask alone is at {forget['mask_only']:.1f} % and {own['mask_only']:.1f} %."
    )


_PAGE: Final = """# Forgetting a programming language

Made by `make results B=language` (`python -m unlearning reproduce language --seeds {seeds}`), {seed_count} seeds, \
Python {python}, one thread, after `python -m unlearning fetch` of code-go, code-rust and code-erlang. \
All figures are read off its steps; none is written by hand.

ZK-APEX's second experiment at a size that a laptop trains in minutes: a byte-level OPT (transformers, {depth} \
layers, width {width}, 128 bytes of context) learns Python, Go and Erlang from their standard libraries, {windows} \
windows of 128 bytes each. The client personalises it by LoRA (rank 8 on q, v, fc1 and fc2, merged) on \
{personal_windows} windows of Rust, a language the provider's model has not seen. Go is to be forgotten. Exact \
retraining: the same model from the same first weights, trained on Python and Erlang alone, then personalised in \
the same way. Everything is measured on {tests} windows per language from files that no training saw.

The mask takes {budget:.0%} of the fc1 weights, by saliency on {gradients} gradients of Go at the provider's \
model. The client's curvature comes from {gradients} gradients of Rust at its own model, before the mask, in \
blocks of {block_size}. The forget direction is the provider's mean gradient of Go at its masked model.

## Results

Accuracies and AUC in %, KL from exact retraining in nats per byte, mean ± standard deviation over the seeds. AUC \
is that of membership inference by loss, Go windows that were trained on against Go test windows; 50 is ideal.

| | Go acc | Go ppl | Rust acc | Rust ppl | Python, Erlang acc | MIA AUC | KL on Go | KL on Rust |
|---|---|---|---|---|---|---|---|---|
{method_rows}

{judgement}

## Over budgets

Accuracy on Go / on Rust in %:

| masked | mask only | plain Group-OBS | forget-safe, orthogonal | forget-safe, with a push |
|---|---|---|---|---|
{budget_rows}

![accuracy on Rust against accuracy on Go, by budget](language.svg)

## How to read this

- The paper's model has 125 M parameters, pretrained on text, and forgets Scala by 3.8 points; this one has 0.5 M, \
knows three languages and nothing else, and exact retraining costs it more on Go. The order of the methods is \
comparable, the sizes are not.
- The rows in integers have the rank and damping of the default circuit release, chosen for another model. What \
they lose against full blocks is what a proof of this model would lose today; a higher rank or less damping was \
not tried here. The figures that the command prints are those of full blocks.
- KL from exact retraining compares two trainings, which differ by more than the forgotten language: read it \
against the row "before".
- Languages share much: what stays of Go in the exactly retrained model is what Python, Erlang and Rust teach \
about it. Accuracy near zero is not the goal here; accuracy of the gold standard is.
- Python is the standard library of the interpreter that ran this ({python}); another version gives slightly other \
windows. Go, Rust and Erlang are fixed by digest.
- Gradient ascent and SCRUB run once, at one learning rate each, chosen on one such model so that Go falls to \
about where exact retraining leaves it. The push and the damping of Group-OBS were chosen on the same model, its \
budget is the paper's. The baselines need the provider's Go on the client's side, \
which the mask does not, and nothing proves that they were run.
"""
