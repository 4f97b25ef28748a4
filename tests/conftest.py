"""One data folder for the whole test run, made and removed here; a real PostgreSQL lives in it.

Nothing of the ledger touches its data folder on import, so it is in time to redirect it here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from psycopg import sql

from tests.shared import put_cluster

DATA_DIR = Path(tempfile.mkdtemp(prefix="ledger-test-"))
os.environ["LEDGER_DATA_DIR"] = str(DATA_DIR)  # for processes that tests start
# Tests run side by side already: threads of ezkl and torch within them would only wait for each other.
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.LEDGER_DATA_DIR = DATA_DIR


#: Files that take minutes, longest first.
LONGEST = ("test_end_to_end.py", "test_a_fleet.py", "test_pages_in_a_browser.py", "test_schemathesis.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then those with slow tests: processes that share out files then end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path.name, len(places)), item.path not in slow))


@pytest.fixture(scope="session", autouse=True)
def data_dir() -> Iterator[Path]:
    from ledger import embedded, keys

    keys.create_missing()
    yield DATA_DIR
    embedded.stop(DATA_DIR)
    shutil.rmtree(DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_keepdb(
    request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory,
    django_db_modify_db_settings: None, django_db_blocker: Any,
) -> bool:  # fmt: skip
    """Django finds the tests' database as all migrations leave it: a copy of one that was made once per run."""
    if settings.DATABASES["default"]["ENGINE"] != "ledger.embedded" or (data_dir / "postgres").exists():
        return bool(request.config.getvalue("reuse_db"))
    from ledger import embedded

    put_cluster(tmp_path_factory, data_dir)
    with psycopg.connect(embedded.address(data_dir).uri("postgres"), autocommit=True) as server:
        with django_db_blocker.unblock():
            names = connection.creation._get_test_db_name(), embedded.DATABASE
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, names)))
    return True


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Programs that keep secrets set it for their process, which may be the tests' own."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _answers_as_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every JSON answer of the REST interface that a test sees is what its operation declares."""
    from pydantic import TypeAdapter
    from rest_framework.response import Response

    from ledger.api import operations
    from ledger.api.view import ApiView

    finalize = ApiView.finalize_response

    def checked(view: Any, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        said = operations.of(view, request.method)
        if said is not None and isinstance(response, Response) and response.status_code < 300:
            kind = said.gives[response.status_code]
            if isinstance(kind, type):
                TypeAdapter(kind).validate_python(response.data, strict=True)
        return finalize(view, request, response, *args, **kwargs)

    monkeypatch.setattr(ApiView, "finalize_response", checked)


@pytest.fixture(autouse=True)
def _emptied_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with real transactions all tables are truncated; a log with entries would refuse."""
    marker = request.node.get_closest_marker("django_db")
    transactional = "transactional_db" in request.fixturenames or bool(marker and marker.kwargs.get("transaction"))
    if transactional:
        request.getfixturevalue("transactional_db")
    yield
    if transactional:
        import pgtrigger

        guarded = [
            model._meta.db_table
            for model in apps.get_app_config("ledger").get_models()
            if getattr(model._meta, "triggers", None)
        ]
        with pgtrigger.ignore(), connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(guarded)} CASCADE")
