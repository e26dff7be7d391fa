"""DRIVES: one local Postgres; knows nothing of leaders and locks."""

from __future__ import annotations
