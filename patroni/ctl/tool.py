"""What all commands work with: configuration, store and REST client, each made when a command first needs it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar

import click

from patroni.config.environment import Environment
from patroni.config.load import Local, load_for_patronictl
from patroni.config.patronictl import ToolConfiguration, build_for_patronictl
from patroni.ctl.api import ApiClient
from patroni.ctl.cluster_view import ClusterView, view_from
from patroni.ctl.store_access import open_for_tool
from patroni.dcs.coordinator import Coordinator, drive
from patroni.dcs.path import cluster_prefix
from patroni.dcs.store import Clock, DcsUnavailable, ReadPrefix, Snapshot, Store, StoreConfigError, perform
from patroni.decision.lease import elapsed_s
from patroni.decision.request import Steps
from patroni.decision.scalar import integer

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 30.0  # how long a store that does not answer is asked again (contract/cli.md §7)
RETRY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the command line and the process give to a command."""

    config_file: str | None  # None: not named
    default_config_file: str
    dcs_url: str | None
    is_insecure: bool
    environment: Environment
    clock: Clock
    wall: Callable[[], datetime]  # with the local zone: for people and schedules only
    patience_s: float = PATIENCE_S


class Tool:
    """Gives commands what they need."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._opened: Store | None = None

    @cached_property
    def _local(self) -> Local:
        given = self._surroundings
        return load_for_patronictl(given.config_file, given.default_config_file, given.environment)

    @cached_property
    def configuration(self) -> ToolConfiguration:
        """Return the configuration; raise ConfigError where it cannot be used."""
        return build_for_patronictl(self._local, self._surroundings.dcs_url)

    @cached_property
    def citus_group(self) -> int | None:
        """Return the group of a valid `citus` section, which turns on the Citus view; None: it is off (§2.6)."""
        section = self._local.values.get("citus")
        if not isinstance(section, Mapping) or not isinstance(section.get("database"), str):
            return None
        return integer(section.get("group"))

    @cached_property
    def api(self) -> ApiClient:
        """Return the REST client."""
        try:
            return ApiClient(self.configuration.client, is_insecure=self._surroundings.is_insecure)
        except OSError as error:
            raise click.ClickException(f"ctl: the certificates cannot be used: {error}") from error

    @cached_property
    def _store(self) -> Store:
        configuration = self.configuration
        if configuration.store is None:
            raise StoreConfigError(configuration.store_fault)
        self._opened = open_for_tool(configuration.store, configuration.timing, self._surroundings.clock)
        return self._opened

    def close(self) -> None:
        """Give up what was opened."""
        if self._opened is not None:
            self._opened.close()

    def cluster_name(self, given: str | None) -> str:
        """Return the cluster that is named, else that of the configuration."""
        name = given or self.configuration.scope
        if not name:
            raise click.ClickException("no cluster is named: name it on the command line or as `scope` in the configuration")
        return name

    @property
    def clock(self) -> Clock:
        """Return the clock for durations."""
        return self._surroundings.clock

    def now(self) -> datetime:
        """Return the wall clock's time in the local zone."""
        return self._surroundings.wall()

    def read(self, name: str, group: int | None = None) -> ClusterView:
        """Read a cluster as it is now: one group, or without a number all of them (§2.6, §2.11)."""
        prefix = cluster_prefix(self.configuration.namespace, name, group)
        is_citus = group is not None or self.citus_group is not None
        return view_from(name, self._snapshot(prefix), prefix, is_citus=is_citus, group=group)

    def _snapshot(self, prefix: str) -> Snapshot:
        clock, patience_s = self._surroundings.clock, self._surroundings.patience_s
        began = clock()
        pause = threading.Event()
        while True:
            try:
                return perform(self._store, ReadPrefix(prefix, is_linearizable=True), self._timeout_s)
            except DcsUnavailable as error:
                left_s = patience_s - elapsed_s(began, clock())
                if left_s <= 0:
                    raise
                logger.warning("the store does not answer, asking again: %s", error)
                pause.wait(min(RETRY_S, left_s))

    def coordinator(self, name: str, group: int | None = None) -> Coordinator:
        """Return the operations on a cluster; without a group in a Citus view those of the configured one."""
        number = group if group is not None else self.citus_group
        return Coordinator(prefix=cluster_prefix(self.configuration.namespace, name, number), name="patronictl")

    def drive(self, steps: Steps[T]) -> T:
        """Carry out one operation on the store."""
        return drive(steps, self._store, self._surroundings.clock, self._timeout_s)

    @property
    def _timeout_s(self) -> float:
        return float(self.configuration.timing.retry_timeout_s)

    def stamp(self) -> str:
        """Return the local time as the lines of operations begin: five digits of a second's fraction (§2.12)."""
        return f"{self.now():%Y-%m-%d %H:%M:%S.%f}"[:-1]
