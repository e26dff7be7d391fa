"""Two versions: ours, and the one that other members of a cluster judge us by."""

from __future__ import annotations

VERSION = "0.1.0"

# The level of the public interface; it stands in the member key, in `patroni.version` of REST and in User-Agent.
COMPATIBILITY = "4.1.4"
