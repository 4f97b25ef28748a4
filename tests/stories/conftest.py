"""One provider, one parent for agents, one small real circuit and model: shared by all stories of a run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ledger.statements.predicates.circuit_release import CircuitParameters
from prover_worker import release
from prover_worker.ezkl_backend import EzklBackend
from tests.browsing import open_browser, open_context, require_chromium
from tests.shared import once, put_cluster
from tests.stories.client import Client
from tests.stories.nursery import Nursery
from tests.stories.provider import Officer, Provider

#: What the tests of faults and images take over with a star: they tell parts of the same stories.
__all__ = [
    "found_provider", "global_model", "new_client", "nursery", "officer", "personal_model", "provider",
    "proving_keys", "release_folder",
]  # fmt: skip

#: The smallest circuit in which everything happens: 128 weights a proof, three proofs and a range proof a claim.
PARAMETERS = CircuitParameters(
    logrows=10, columns=2, blocks=8, block_size=16, rank=2, damping=64, factor_limit=15, grid_bits=20, form=2,
    salt_rows=12, range_group=4, noise_rows=640,
)  # fmt: skip
ARCHITECTURE = {
    "library": "timm", "model": "vision_transformer", "img_size": 8, "patch_size": 2, "in_chans": 1,
    "num_classes": 10, "embed_dim": 8, "depth": 1, "num_heads": 2, "mlp_ratio": 6, "weight_init": "moco",
    "global_pool": "avg", "class_token": False,
}  # fmt: skip
SPLITS = 20  # clients that the training data is divided among


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="session")
def release_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A circuit release, as `python -m prover_worker.release` writes it."""

    def make(folder: Path) -> None:
        predicate, _ = release.build(EzklBackend(), PARAMETERS, folder)
        (folder / "predicate.json").write_text(predicate.model_dump_json(by_alias=True))

    return once(tmp_path_factory, "stories-release", make)


@pytest.fixture(scope="session")
def global_model(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A global model of handwritten digits, trained here."""

    def make(folder: Path) -> None:
        (folder / "given.json").write_text(json.dumps(ARCHITECTURE))
        process = nursery.start(
            "unlearning.__main__", "train", "--dataset", "digits", "--architecture", folder / "given.json",
            "--out", folder, "--epochs", "25", "--lr", "0.01", out=folder / "train.txt",
        )  # fmt: skip
        assert process.wait() == 0, process.text

    return once(tmp_path_factory, "stories-model", make)


@pytest.fixture(scope="session")
def found_provider(tmp_path_factory: pytest.TempPathFactory, release_folder: Path) -> Callable[[], Provider]:
    """A provider in a folder of its own, not yet running."""

    def found() -> Provider:
        folder = tmp_path_factory.mktemp("provider")
        put_cluster(tmp_path_factory, folder / "data")
        return Provider(folder, release_folder)

    return found


@pytest.fixture(scope="session")
def provider(found_provider: Callable[[], Provider]) -> Iterator[Provider]:
    with found_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def officer(provider: Provider) -> Iterator[Officer]:
    with provider.officer() as officer:
        yield officer


@pytest.fixture(scope="session")
def proving_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "stories-proving-keys", lambda _folder: None)  # agents make them, one at a time


@pytest.fixture(scope="session")
def personal_model(
    nursery: Nursery, global_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """Personalised models by number, each on its own part of the data; made when first asked for."""

    def personal(number: int) -> Path:
        def make(folder: Path) -> None:
            process = nursery.start(
                "unlearning.__main__", "personalise", "--global", global_model / "global.safetensors",
                "--architecture", global_model / "architecture.json", "--dataset", "digits", "--client", number,
                "--clients", SPLITS, "--out", folder, "--epochs", 4, "--lr", "0.002", out=folder / "out.txt",
            )  # fmt: skip
            assert process.wait() == 0, process.text

        return once(tmp_path_factory, f"stories-personal-{number}", make)

    return personal


@pytest.fixture(scope="session")
def new_client(
    nursery: Nursery,
    personal_model: Callable[[int], Path],
    proving_keys: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Client]:
    """A client with a folder and a personalised model of its own, not yet known to the provider."""
    numbers = itertools.count()

    def make() -> Client:
        number = next(numbers)
        folder = tmp_path_factory.mktemp(f"client-{number}-")
        return Client(nursery, folder, personal_model(number % SPLITS), proving_keys)

    return make


@pytest.fixture(scope="module")
def model(provider: Provider, global_model: Path, request: pytest.FixtureRequest) -> str:
    """A global model for one story: a model has one uncertified window at a time."""
    return provider.register_model(global_model, request.module.__name__.rsplit(".", 1)[-1])


def states(window: Any) -> list[str]:
    return sorted(order["state"] for order in window["orders"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one file of stories."""
    require_chromium()
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def visit(browser: Browser, provider: Provider) -> Iterator[Callable[..., Page]]:
    """A page of somebody with a browser of their own; options are those of `open_context`."""
    contexts = []

    def open_page(**options: Any) -> Page:
        # By name, not by number: passkeys belong to names.
        context = open_context(browser, provider.address.replace("127.0.0.1", "localhost"), **options)
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()
