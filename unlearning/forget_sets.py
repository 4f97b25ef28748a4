"""What is to be forgotten, as JSON: which of a data set's training samples, the rest being what is kept.

    {"class": 8}    {"classes": [1, 2]}    {"samples": [17, 203]}    {"random": {"count": 100, "seed": 0}}

`samples` are positions in the training part; `random` is for experiments. For source code a class is a language.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from unlearning import datasets
from unlearning.errors import DatasetError

_Natural = Annotated[int, Field(ge=0, strict=True)]


class RandomSet(BaseModel):
    """`count` samples drawn without replacement from `seed`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=1, strict=True)
    seed: int = Field(ge=0, lt=2**32, strict=True)


class Forget(BaseModel):
    """One of the module's forms."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    label: _Natural | None = Field(default=None, alias="class")
    classes: tuple[_Natural, ...] | None = Field(default=None, min_length=1)
    samples: tuple[_Natural, ...] | None = Field(default=None, min_length=1)
    random: RandomSet | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Forget:
        given = [form for form in (self.label, self.classes, self.samples, self.random) if form is not None]
        if len(given) != 1:
            raise ValueError("expected exactly one of class, classes, samples and random")
        for members in (self.classes, self.samples):
            if members is not None and len(set(members)) != len(members):
                raise ValueError("a class or sample is named twice; name each once")
        return self

    def chosen(self, dataset: str, train: datasets.Part) -> npt.NDArray[np.bool_]:
        """Which samples of the training part of `dataset` are to be forgotten, (n,).

        Raises DatasetError where something named is not there, or nothing or everything would be forgotten.
        """
        total = len(train.y)
        if self.samples is not None or self.random is not None:
            chosen = np.zeros(total, dtype=bool)
            chosen[self._positions(dataset, total)] = True
        else:
            wanted = list(self.classes or ()) if self.label is None else [self.label]
            labels = datasets.classes(dataset, train)
            for label in wanted:
                if not (labels == label).any():
                    raise DatasetError(
                        f"class {label} has 0 of {total} training samples of {dataset}; choose one of its classes"
                    )
            chosen = np.isin(labels, wanted)
        if chosen.all():
            raise DatasetError(
                f"the forget set is all {total} training samples of {dataset}, expected some to be kept"
            )
        return chosen

    def _positions(self, dataset: str, total: int) -> npt.NDArray[np.int64]:
        if self.random is not None:
            if self.random.count > total:
                raise DatasetError(
                    f"got {self.random.count} random samples to forget, expected fewer than {total} of {dataset}"
                )
            return np.random.default_rng(self.random.seed).permutation(total)[: self.random.count]
        assert self.samples is not None, "one of the two forms by positions"
        if max(self.samples) >= total:
            raise DatasetError(
                f"there is no sample {max(self.samples)} in {dataset}; name positions from 0 to {total - 1}"
            )
        return np.array(self.samples, dtype=np.int64)
