"""patronictl: one file a command; rendering is pure."""

from __future__ import annotations
