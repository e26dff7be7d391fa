"""ANSWERS: health checks, status and operators' requests."""

from __future__ import annotations
