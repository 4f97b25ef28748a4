"""Settings as a public server has them: nothing to warn of, and what goes wrong is said by a check of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core import checks
from django.test import Client as Browser

from ledger.statements import keys
from ledger.tlog.cosignature import CosignatureSigner

ROOT = Path(__file__).resolve().parents[2]
CONTACT = "mailto:security@ledger.example"
WITNESS = f"https://w.example {CosignatureSigner('w.example/1', keys.generate()).vkey}"


#: What tests run on: one machine, and no witnesses. `test_unsafe_settings` is about these.
HERE = {"ledger.E015", "ledger.W017", "ledger.W019"}


def problems() -> set[str]:
    return {str(found.id) for found in checks.run_checks() if str(found.id).startswith("ledger.")} - HERE


def test_a_server_set_up_as_the_guide_says_has_nothing_to_warn_of(tmp_path: Path) -> None:
    """In a process of its own, as settings follow from the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "DJANGO_"))}
    environment |= {
        "LEDGER_DATA_DIR": str(tmp_path), "LEDGER_HTTPS": "1", "LEDGER_ALLOWED_HOSTS": "ledger.example",
        "LEDGER_ORIGIN": "ledger.example/log", "LEDGER_SECURITY_CONTACT": CONTACT, "LEDGER_WITNESSES": WITNESS,
        "DATABASE_URL": "postgresql://app:Xk3-9@db.example/ledger?sslmode=verify-full",
        "CELERY_BROKER_URL": "rediss://:Xk3-9@broker.example/0",
    }  # fmt: skip
    script = (
        "import sys; from django.core.management import execute_from_command_line as run;"
        "run(['manage.py', 'init']); run(['manage.py', 'check', '--deploy', '--fail-level', 'WARNING'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env=environment | {"DJANGO_SETTINGS_MODULE": "ledger.settings"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no issues (1 silenced)" in done.stdout


def test_where_to_report_a_weakness(settings: LazySettings) -> None:
    """RFC 9116: one contact, and a date less than a year away."""
    assert Browser().get("/.well-known/security.txt").status_code == 404
    settings.HTTPS = settings.LEDGER_SECOND_FACTOR = True
    assert problems() == {"ledger.W009"}
    settings.LEDGER_SECURITY_CONTACT = "security@ledger.example"
    assert problems() == {"ledger.E011"}
    settings.LEDGER_SECURITY_CONTACT = CONTACT
    assert problems() == set()
    answer = Browser().get("/.well-known/security.txt")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    said = dict(line.split(": ", 1) for line in answer.content.decode().splitlines())
    assert (said["Contact"], said["Canonical"]) == (CONTACT, "http://testserver/.well-known/security.txt")
    until = datetime.fromisoformat(said["Expires"])
    assert timedelta(days=30) < until - datetime.now(UTC) < timedelta(days=365)


def test_plain_http_is_sent_to_https(settings: LazySettings, db: None) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 3600
    answer = Browser().get("/admin/login/")
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://testserver/admin/login/")
    safe = Browser().get("/admin/login/", secure=True)
    assert safe.status_code == 200
    assert safe.headers["Strict-Transport-Security"].startswith("max-age=3600")


@pytest.mark.parametrize("contact", ["ftp://x", "https://", "mailto:", "https://a b", "mailto:a@b@c"])
def test_a_contact_that_is_none(settings: LazySettings, contact: str) -> None:
    settings.LEDGER_SECURITY_CONTACT = contact
    assert problems() == {"ledger.E011"}
