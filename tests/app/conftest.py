"""What the tests of the window share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.settings import Settings


@pytest.fixture
def settings(tmp_path) -> Iterator[Settings]:
    """Settings in a folder of their own, written out at the end."""
    made = Settings(tmp_path / "settings")
    yield made
    made.flush()
    made.storage.close()
