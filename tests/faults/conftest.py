"""Houses on real services, and the parts of the stories that live in them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.house import House
from tests.faults.scarce import MemoryGroup
from tests.faults.tally import TALLY
from tests.faults.walk import Action, Walk
from tests.services import Postgres, RabbitMq, Redis, Service, Swift
from tests.stories.conftest import *  # noqa: F403 - fixtures


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that the database's user may enter, which pytest's own ones are not."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def require(*services: type[Service]) -> None:
    for service in services:
        if service.missing():
            pytest.skip(f"{service.missing()} is not installed: make fault-tools")


@pytest.fixture(scope="session")
def house(place: Path, release_folder: Path) -> Iterator[House]:
    """PostgreSQL and Redis; files in a folder."""
    require(Postgres, Redis)
    with (
        Postgres(place / "postgres") as database,
        Redis(place / "redis") as broker,
        House(place / "house", release_folder, database, broker) as house,
    ):
        yield house
        TALLY.lost += house.lost()


@pytest.fixture(scope="session")
def other_house(place: Path, release_folder: Path) -> Iterator[House]:
    """PostgreSQL and RabbitMQ; files in a bucket."""
    require(Postgres, RabbitMq, Swift)
    with (
        Postgres(place / "postgres2") as database,
        RabbitMq(place / "rabbitmq") as broker,
        Swift(place / "swift") as files,
    ):
        files.make_bucket()
        with House(place / "house2", release_folder, database, broker, files) as house:
            yield house
            TALLY.lost += house.lost()


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    """A memory group of the kernel's."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(MemoryGroup())
        except OSError as error:
            pytest.skip(f"no memory group can be made here: {error}")
        yield made


@pytest.fixture
def walk(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Tell the whole story in a house, with something going wrong at some steps; every one is a fault tried."""

    def go(house: House, what: str, at: dict[str, Action]) -> None:
        name, folder = request.node.name[:60], request.getfixturevalue("global_model")
        with TALLY.faults(*(f"{what}, {step}" for step in at)), house.officer() as officer:
            client = request.getfixturevalue("new_client")()
            Walk(house, officer, client, house.register_model(folder, name), at).go()

    return go
