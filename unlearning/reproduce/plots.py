"""Trade-off curves as SVG files that are the same for the same figures. The only module that imports matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Curve(NamedTuple):
    """Points (x, y) with their standard deviations, in the order in which a line joins them, and their labels."""

    x: Sequence[float]
    y: Sequence[float]
    dx: Sequence[float]
    dy: Sequence[float]
    labels: Sequence[str] = ()


def trade_off(path: Path, curves: Mapping[str, Curve], axes: tuple[str, str], title: str) -> None:
    """Write one plot of several curves; a curve of one point is drawn as a marker alone."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    settings = {"svg.hashsalt": "unlearning", "svg.fonttype": "none", "font.size": 9}
    with plt.rc_context(settings):
        figure, area = plt.subplots(figsize=(6.4, 4.4))
        for name, curve in curves.items():
            style = "o-" if len(curve.x) > 1 else "*"
            area.errorbar(
                curve.x, curve.y, xerr=curve.dx, yerr=curve.dy, fmt=style, label=name, markersize=5, capsize=2
            )
            for x, y, label in zip(curve.x, curve.y, curve.labels, strict=False):
                area.annotate(label, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=6)
        area.set_xlabel(axes[0])
        area.set_ylabel(axes[1])
        area.set_title(title)
        area.grid(alpha=0.3)
        area.legend(fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
