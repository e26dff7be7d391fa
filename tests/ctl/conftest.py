"""The fixtures of patronictl's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.trial import Trial


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """Return an empty store with a configuration for it."""
    made = Trial(tmp_path)
    yield made
    made.store.close()
