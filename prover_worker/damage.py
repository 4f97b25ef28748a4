"""What an order would do to a client's model, measured on the client's own data before anything is logged.

The client's limit is in points of accuracy (percentage points) over samples kept at commitment. Where the
mask's recipe says that one class is to be forgotten, its samples are left out: losing them is the order's purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prover_worker.agent_state import Folder

if TYPE_CHECKING:
    import torch

DEFAULT_MAX_DROP: Final = 5.0
KEPT: Final = "evaluation.npz"
_MOST_SAMPLES, _MOST_BYTES = 1000, 256_000_000


@dataclass(frozen=True)
class Limits:
    """`max_drop`: points of accuracy that an order may cost; None: as set before. `force`: obey it all the same."""

    max_drop: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Damage:
    """Accuracies in percent, on `samples` samples; `left_out`: the classes that were not counted.

    Of a language model the accuracy is that of its next tokens; it also has a perplexity.
    """

    before: float
    after: float
    samples: int
    left_out: list[int]
    perplexity_before: float | None = None
    perplexity_after: float | None = None

    @property
    def drop(self) -> float:
        """Points of accuracy that are lost; negative where the model became better."""
        return self.before - self.after

    def sentence(self) -> str:
        """The figures for people."""
        without = f", class {', '.join(map(str, self.left_out))} left out" if self.left_out else ""
        hesitation = ""
        if self.perplexity_before is not None and self.perplexity_after is not None:
            hesitation = f", perplexity {self.perplexity_before:.2f} before, {self.perplexity_after:.2f} after"
        return (
            f"accuracy on {self.samples} of this client's own samples{without}: {self.before:.1f} % before, "
            f"{self.after:.1f} % after, a drop of {self.drop:.1f} points{hesitation}"
        )

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"drop": self.drop}


def keep_samples(folder: Folder, data: Path) -> None:
    """Keep a sample of the client's data beside its commitment. Raises DatasetError for a file that is no data."""
    import numpy as np

    from unlearning import datasets

    part = datasets.load_npz(data)
    most = max(1, min(_MOST_SAMPLES, _MOST_BYTES // max(1, part.x[:1].nbytes)))
    chosen = np.sort(np.random.default_rng(0).permutation(len(part.y))[:most])
    with folder.appearing(KEPT) as path:
        datasets.save_npz(path, part.at(chosen))


def forgotten_classes(recipe: Mapping[str, Any]) -> list[int]:
    """The classes that a mask's recipe says are to be forgotten, ascending; none where it names other things."""
    forget = recipe.get("forget")
    if not isinstance(forget, Mapping):
        return []
    named = forget.get("classes", [forget.get("class")])
    labels = named if isinstance(named, list) else []
    return sorted({label for label in labels if isinstance(label, int) and not isinstance(label, bool)})


def measure(
    architecture: Mapping[str, Any],
    before: Mapping[str, torch.Tensor],
    after: Mapping[str, torch.Tensor],
    samples: Path,
    left_out: list[int],
) -> Damage:
    """Both models on the same samples. Raises what loading models and data raises."""
    import numpy as np

    from unlearning import backbones, datasets, evaluate

    part = datasets.load_npz(samples)
    text = part.y.ndim == 2  # whose labels are tokens
    keep = np.ones(len(part.y), dtype=bool)
    if not text and not np.isin(part.y, left_out).all():  # all: it has nothing but what is to be forgotten
        keep = ~np.isin(part.y, left_out)
    left_out = [] if keep.all() else left_out
    chosen = part.at(keep)
    old, new = (evaluate.score(backbones.with_weights(architecture, state), *chosen) for state in (before, after))
    hesitations = (old.perplexity, new.perplexity) if text else (None, None)
    return Damage(100 * old.accuracy, 100 * new.accuracy, len(chosen.y), left_out, *hesitations)
