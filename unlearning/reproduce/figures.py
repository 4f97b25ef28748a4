"""Figures as the pages write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def spread(values: Sequence[float], scale: float = 100.0, digits: int = 1) -> str:
    """`mean ± standard deviation` of the values times `scale`; of one value alone, that."""
    scaled = np.asarray(values) * scale
    if len(scaled) < 2:
        return f"{scaled[0]:.{digits}f}"
    return f"{scaled.mean():.{digits}f} ± {scaled.std(ddof=1):.{digits}f}"
