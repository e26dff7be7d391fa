"""patronictl: one file a command; rendering is pure."""

from __future__ import annotations

from patroni.ctl.main import main as ctl

__all__ = ["ctl"]  # what start scripts of others import (contract/cli.md §1)
