"""High-availability agent for PostgreSQL; which room does what: see the architecture picture in README.md."""

from __future__ import annotations
