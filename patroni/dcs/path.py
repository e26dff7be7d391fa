"""Paths of the keys; pure. Names and shape: contract/dcs.md §1.1-1.2."""

from __future__ import annotations

import re

LEADER = "leader"
MEMBERS = "members/"
INITIALIZE = "initialize"
CONFIG = "config"
STATUS = "status"
OLD_STATUS = "optime/leader"  # of agents before 2.1.0; read where `status` is missing, never written
FAILOVER = "failover"
SYNC = "sync"
HISTORY = "history"
FAILSAFE = "failsafe"


def cluster_prefix(namespace: str, scope: str, group: int | None = None) -> str:
    """Return the path before every key of a cluster, with its last slash; group: of a Citus cluster, None without."""
    below = "" if group is None else f"/{group}"
    return re.sub("/+", "/", f"/{namespace}/{scope}{below}/")


def member_key(prefix: str, name: str) -> str:
    """Return the key of a member, whose name is taken literally."""
    return f"{prefix}{MEMBERS}{name}"
