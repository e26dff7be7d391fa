"""What rules may know of the configuration: typed, immutable, units in the names.

Built by `config/` from file, environment and the config key of the store; defaults and limits: contract/configuration.md
§4 and design.md §8 (ttl from 5 s on etcd and the embedded store).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from patroni.decision.cluster import Tags


class SynchronousMode(Enum):
    """How the agent manages synchronous standbys."""

    OFF = "off"
    PRIORITY = "priority"
    QUORUM = "quorum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings that a decision may depend on."""

    ttl_s: float = 30.0
    loop_wait_s: float = 10.0
    retry_timeout_s: float = 10.0
    primary_start_timeout_s: float = 300.0  # 0: fail over at once after a crash
    primary_stop_timeout_s: float = 0.0  # 0: no timeout; effective in synchronous mode only
    primary_race_backoff_s: float = 0.0
    maximum_lag_on_failover_bytes: int = 1048576
    check_timeline: bool = False
    max_timelines_history: int = 0  # 0: keep all
    member_slots_ttl_s: float = 1800.0  # 0: slots of lost members are not kept
    use_slots: bool = True
    is_paused: bool = False
    failsafe_mode: bool = False
    is_standby_cluster: bool = False  # it follows a remote server: not supported yet, so nobody is promoted meanwhile
    synchronous_mode: SynchronousMode = SynchronousMode.OFF
    synchronous_mode_strict: bool = False
    use_pg_rewind: bool = False
    remove_data_directory_on_rewind_failure: bool = False
    remove_data_directory_on_diverged_timelines: bool = False
    has_bootstrap_section: bool = False
    tags: Tags = Tags()
