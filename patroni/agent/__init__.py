"""WIRES: observe, decide, execute."""

from __future__ import annotations
