"""The fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.directories import server_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a new directory of the user that servers run as; what runs in it ends with the test."""
    with server_directory("test") as path:
        yield path
