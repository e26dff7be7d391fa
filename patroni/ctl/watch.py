"""Watch mode: show again and again, until Ctrl-C or an error (contract/cli.md §3.8)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import click

from patroni.dcs.store import Clock
from patroni.decision.lease import elapsed_s

USUAL_S = 2.0  # of `-W`


def repeat(show: Callable[[], None], clock: Clock, watch_s: float | None, *, is_watched: bool) -> None:
    """Show once, or every so many seconds, from start to start, on a cleared screen if it is one. 0 is not given."""
    period_s = watch_s or (USUAL_S if is_watched else 0.0)
    pause = threading.Event()
    while True:
        began = clock()
        if period_s:
            click.clear()
        show()
        if not period_s:
            return
        pause.wait(max(0.0, period_s - elapsed_s(began, clock())))
