"""The fixtures of the conformance suite: one server a backend and run, one prefix a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.harness import HARNESSES, Harness
from tests.contract.site import Site


@pytest.fixture(scope="session", params=sorted(HARNESSES))
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Return the running server of one backend."""
    backend: str = request.param
    running = HARNESSES[backend](tmp_path_factory.mktemp(backend))
    yield running
    running.close()


@pytest.fixture
def site(harness: Harness) -> Iterator[Site]:
    """Return a place of its own in the store."""
    made = Site(harness, f"/contract/{uuid.uuid4().hex}/")
    yield made
    made.close()
