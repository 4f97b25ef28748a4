"""`manage.py report`, and what it refuses."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from ledger.reports.errors import ReportError
from ledger.reports.make import make
from ledger.reports.schema import About
from tests.ledger.story import Story, nobody

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_the_command_writes_a_file(story: Story, tmp_path: Path):
    window, path = story.masked_window(), tmp_path / "r.json"
    call_command("report", "window", str(window.uuid), "--format", "json", "--output", str(path))
    assert json.loads(path.read_text())["about"] == {
        "scope": "window", "id": str(window.uuid), "name": "small", "since": None, "until": None,
    }  # fmt: skip
    with pytest.raises(CommandError, match="no window"):
        call_command("report", "window", nobody())
    with pytest.raises(CommandError, match="needs its UUID"):
        call_command("report", "client")


def test_a_period_needs_an_end_after_its_beginning(db):
    with pytest.raises(ReportError, match="a beginning and, after it, an end"):
        make(uuid.uuid4(), About(scope="period", since=NOW, until=NOW), "json")
