from __future__ import annotations

from pathlib import Path

import pytest

import ledger.access.session  # noqa: F401 - begins sessions: a server has it from its start, with its middleware
from tests.ledger.story import Story


@pytest.fixture
def story(db: None, tmp_path: Path) -> Story:
    return Story(tmp_path)
