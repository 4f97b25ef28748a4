from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.story import Story


@pytest.fixture
def story(db: None, tmp_path: Path) -> Story:
    return Story(tmp_path)
