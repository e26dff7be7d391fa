"""Shared: the configuration that runs now. One reference, replaced whole by the loop's thread, read by every thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from patroni.decision.settings import Settings


@dataclass(slots=True)
class Shared:
    """What the threads of one agent read of its configuration."""

    settings: Settings
    dynamic_configuration: Mapping[str, object] = field(default_factory=dict)  # what a leader writes to an empty config key
