"""A model of lease, lock, guard and election, and what checks it in every reachable state."""

from __future__ import annotations
