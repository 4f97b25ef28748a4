"""Settings that are unsafe in public: named by a check, and refused where web servers and workers start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dj_database_url
import pytest
from django.conf import LazySettings

from ledger import production

ROOT = Path(__file__).resolve().parents[2]
SAFE: dict[str, Any] = {
    "HTTPS": True,
    "ALLOWED_HOSTS": ["ledger.example", "localhost"],
    "SECRET_KEY": "0123456789abcdef" * 4,
    "CELERY_BROKER_URL": "rediss://:Xk3-9@broker.example/0",
    "LEDGER_BLOB_STORE": "s3://bucket?endpoint=https://s3.example",
    "LEDGER_WITNESSES": "https://w.example VKEY",
}


DATABASE = "postgres://app:Xk3-9@db.example/l?sslmode=verify-full"


def found(settings: LazySettings, database: str = DATABASE, **changes: Any) -> list[str]:
    for name, value in (SAFE | changes).items():
        setattr(settings, name, value)
    parsed = dj_database_url.parse(database) if database else {"ENGINE": "ledger.embedded"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.DATABASES, "default", parsed)
        return [str(problem.id).removeprefix("ledger.") for problem in production.check_production()]


def test_safe_settings(settings: LazySettings) -> None:
    assert found(settings) == []
    assert found(settings, "postgres://app@%2Fvar%2Frun%2Fpostgresql/l") == []  # by the socket
    assert found(settings, CELERY_BROKER_URL="redis://localhost/0") == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"DEBUG": True}, ["E012"]),
        ({"ALLOWED_HOSTS": ["*"]}, ["E013"]),
        ({"ALLOWED_HOSTS": [".example"]}, ["E013"]),
        ({"HTTPS": False}, ["E013"]),
        ({"SECRET_KEY": "django-insecure-" + "0123456789abcdef" * 4}, ["E014"]),
        ({"SECRET_KEY": "short"}, ["E014"]),
        ({"database": ""}, ["E015"]),
        ({"database": "postgres://app:ledger@db.example/l?sslmode=require"}, ["E016"]),
        ({"database": "postgres://app:app@db.example/l?sslmode=require"}, ["E016"]),
        ({"database": "postgres://app:Xk3-9@db.example/l"}, ["W018"]),
        ({"CELERY_BROKER_URL": ""}, ["W017"]),
        ({"CELERY_BROKER_URL": "amqp://guest:guest@broker.example//"}, ["E016", "W018"]),
        ({"LEDGER_BLOB_STORE": "s3://bucket?endpoint=http://s3.example"}, ["W018"]),
        ({"LEDGER_WITNESSES": ""}, ["W019"]),
    ],
)
def test_unsafe_settings(settings: LazySettings, changes: dict[str, Any], expected: list[str]) -> None:
    assert found(settings, **changes) == expected


def test_this_machine_alone_may_do_as_it_likes(settings: LazySettings) -> None:
    alone = {"HTTPS": False, "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]", "web"], "DEBUG": True}
    assert found(settings, **alone, SECRET_KEY="x", CELERY_BROKER_URL="") == []


def test_no_process_starts(tmp_path: Path) -> None:
    """The attempt: the embedded database and a known key, in public."""
    environment = os.environ | {
        "LEDGER_DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "ledger.settings",
        "LEDGER_HTTPS": "1",
        "LEDGER_ALLOWED_HOSTS": "ledger.example",
        "DJANGO_SECRET_KEY": "changeme",
    }
    command = [sys.executable, "-c", "import ledger.wsgi"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    for expected in ("unsafe in public", "ledger.E014", "ledger.E015"):
        assert expected in done.stderr
    assert not (tmp_path / "postgres").exists()
