"""FENCES: sees to it that nobody writes without the lease."""

from __future__ import annotations
