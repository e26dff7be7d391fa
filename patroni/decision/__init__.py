"""DECIDES: the pure core, from the view of one moment to typed actions with a reason."""

from __future__ import annotations
