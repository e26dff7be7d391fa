"""The fixtures of tests with real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.etcd import Etcd
from tests.support.postgres_binaries import PostgresBinaries, installed_postgres


@pytest.fixture(params=installed_postgres(), ids=lambda found: f"postgres{found.major}")
def postgres_binaries(request: pytest.FixtureRequest) -> PostgresBinaries:
    """Return each installed Postgres in turn."""
    found: PostgresBinaries = request.param
    return found


@pytest.fixture
def etcd(directory: Path) -> Iterator[Etcd]:
    """Return a running etcd of one member behind its proxy."""
    with Etcd(directory) as running:
        yield running
