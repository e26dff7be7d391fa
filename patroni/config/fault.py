"""The one error of this room: every fault at once, each a line that begins with its path or file."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(Exception):
    """The configuration cannot be used; `faults` has one line for each reason, e.g. `restapi.listen: no port`."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
