"""The agent's own parts: keeper, loop, executor, each on clocks that the tests move."""

from __future__ import annotations
