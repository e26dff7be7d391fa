"""What the demo shows: progress lines, and below them a block that is refreshed in place on a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

_UP = "\x1b[{count}A"
_CLEAR_BELOW = "\x1b[J"


def say(text: str) -> None:
    """Print a progress line."""
    sys.stdout.write(f"demo: {text}\n")
    sys.stdout.flush()


class Block:
    """Lines that replace each other."""

    def __init__(self) -> None:
        self._height = 0

    @property
    def is_live(self) -> bool:
        """Whether lines can be replaced here: on a terminal."""
        return sys.stdout.isatty()

    def show(self, lines: Sequence[str]) -> None:
        """Replace what was shown; cut to the terminal's size, since a wrapped line would be two."""
        columns, rows = shutil.get_terminal_size()
        lines = lines[: rows - 1]  # the cursor cannot go up to what has scrolled away
        self.clear()
        sys.stdout.write("".join(f"{line[: columns - 1]}\n" for line in lines))
        sys.stdout.flush()
        self._height = len(lines)

    def clear(self) -> None:
        """Remove it, for progress lines to take its place."""
        if self._height:
            sys.stdout.write(_UP.format(count=self._height) + _CLEAR_BELOW)
        self._height = 0
