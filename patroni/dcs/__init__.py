"""AGREES: what the agents share through a consensus store."""

from __future__ import annotations
