"""What the image experiments compare: models trained with and without the forget set, and a client's of each.

A small vision transformer learns part of Fashion-MNIST. The client makes it its own by training on images of its
own. `class` forgets one class; the client's images are turned by 30 degrees, and may lack that class or hold it.
`random` forgets samples drawn at random; there the provider's part is seen more often, so that the model knows its
training samples by heart to a measurable degree, and the client's images are noisy, which leaves that knowledge in
place (turned images overwrite much of it).

The gold standard is the same model trained without the forget set, then personalised in the same way: on all of
the client's data, and, where that holds the class to forget, also on the client's data without the class.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from torch import Tensor

from unlearning import backbones, datasets, personalize
from unlearning.datasets import Part
from unlearning.errors import DatasetError
from unlearning.personalize import Personalisation, Training
from unlearning.reproduce.steps import Steps

State = dict[str, Tensor]
LACKING: Final = "lacking"  # the client's data has no sample of the class
HOLDING: Final = "holding"


class Size(NamedTuple):
    """Numbers of samples and rates of one experiment. `forgotten`: samples of a random forget set, or a class."""

    dataset: str = "fashion-mnist"
    patch: int = 7
    width: int = 96
    depth: int = 4
    shift: str = "rotation"
    samples: int = 10_000
    personal: int = 2_000
    forget_class: int | None = 8
    forget_samples: int = 0
    training: Training = Training(6, 2e-3, batch=128, weight_decay=0.1)
    personalisation: Personalisation = Personalisation(Training(4, 5e-4, batch=64, weight_decay=0.1))

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients of the experiment, by what their data is."""
        return (LACKING, HOLDING) if self.forget_class is not None else (HOLDING,)


CLASS: Final = Size()
RANDOM: Final = Size(
    shift="noise",
    forget_class=None,
    forget_samples=1_000,
    training=Training(10, 2e-3, batch=128, weight_decay=0.1),
)


class Data(NamedTuple):
    """`forget` and `retain` make up what the provider trains on; `personal` is the client's; tests are apart.

    `held_out` are test images of the class to forget, or of all classes; `retain_test` of the other classes, or
    of all; `personal_test` the same in the client's domain.
    """

    forget: Part
    retain: Part
    personal: dict[str, Part]
    held_out: Part
    retain_test: Part
    personal_test: Part


def draw(size: Size, seed: int) -> Data:
    """One seed's data; parts of the training set are disjoint. Raises DatasetError where there is too little."""
    whole = datasets.load(size.dataset)
    order = np.random.default_rng(seed).permutation(len(whole.train.y))
    if len(order) < size.samples + size.personal:
        raise DatasetError(f"{size.dataset} has {len(order)} samples, expected {size.samples + size.personal}")
    mine, own = order[: size.samples], order[size.samples : size.samples + size.personal]
    if size.forget_class is None:
        forgotten = np.arange(len(mine)) < size.forget_samples
        other = np.ones(len(whole.test.y), dtype=bool)
        held_out = whole.test.at(other)
    else:
        forgotten = whole.train.y[mine] == size.forget_class
        other = whole.test.y != size.forget_class
        held_out = whole.test.at(~other)
    private = Part(datasets.shift(whole.train.x[own], size.shift, seed), whole.train.y[own])
    turned = Part(datasets.shift(whole.test.x, size.shift, seed + datasets.TEST_SEED), whole.test.y)
    clients = {HOLDING: private}
    if size.forget_class is not None:
        clients[LACKING] = private.at(private.y != size.forget_class)
    return Data(
        whole.train.at(mine[forgotten]),
        whole.train.at(mine[~forgotten]),
        clients,
        held_out,
        whole.test.at(other),
        turned.at(other),
    )


def architecture(size: Size) -> dict[str, Any]:
    """The model, as backbones builds it."""
    image = datasets.load(size.dataset).train.x.shape
    return {
        **backbones.DIGITS_VIT,
        "img_size": image[2],
        "in_chans": image[1],
        "patch_size": size.patch,
        "embed_dim": size.width,
        "depth": size.depth,
    }


class Models(NamedTuple):
    """The provider's model, and by client its own model and the gold standards."""

    first: State
    mine: dict[str, State]
    gold: dict[str, State]


def train(size: Size, data: Data, seed: int, steps: Steps) -> Models:
    """All models of one seed, each trained once and kept by `steps`."""
    shape = architecture(size)

    def learned(part: Part, name: str) -> State:
        kept = steps.checkpoint(name)
        return personalize.trained(shape, part, size.training, seed, checkpoint=kept).state_dict()

    def personal(state: Mapping[str, Tensor], client: str, name: str) -> State:
        model, own = backbones.with_weights(shape, state), data.personal[client]
        kept = steps.checkpoint(name)
        return personalize.personalise(model, own, size.personalisation, seed, checkpoint=kept).state_dict()

    first = steps.weights("global", lambda: learned(datasets.together([data.forget, data.retain]), "global"))
    without = steps.weights("retrained", lambda: learned(data.retain, "retrained"))
    mine: dict[str, State] = {}
    gold: dict[str, State] = {}
    for client in size.clients:
        for found, state, kind in ((mine, first, "personal"), (gold, without, "exact")):
            name = f"{kind}-{client}"
            found[client] = steps.weights(name, functools.partial(personal, state, client, name))
    return Models(first, mine, gold)
