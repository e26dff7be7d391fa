"""Reconfigure: take over a changed config key, file or environment between two turns (contract/configuration.md §1.9).

A change that cannot be used leaves the old configuration in force and says why in one line a fault.
"""

from __future__ import annotations

import logging

from patroni.agent.configure import postgres_config
from patroni.agent.shared import Shared
from patroni.config.change import changes
from patroni.config.fault import ConfigError
from patroni.config.load import reload_local
from patroni.config.settings import Configuration, with_dynamic, with_local
from patroni.dcs.store import Store, Timing
from patroni.decision.cluster import Cluster
from patroni.decision.settings import Settings
from patroni.postgres.driver import Driver

logger = logging.getLogger(__name__)


class Reconfigurer:
    """Holds the configuration in force; `take` belongs to the loop's thread."""

    def __init__(self, configuration: Configuration, shared: Shared, driver: Driver, store: Store) -> None:
        self.configuration = configuration
        self._shared = shared
        self._driver = driver
        self._store = store

    def take(self, cluster: Cluster | None, is_reload: bool) -> None:
        """Look at a new view's config key; with `is_reload` read the files again as well."""
        wanted = self._reloaded() if is_reload else self.configuration
        if cluster is not None and cluster.config is not None and cluster.config.values:
            wanted = with_dynamic(wanted, cluster.config.values)
        if wanted is not self.configuration:
            self._use(wanted)

    def _reloaded(self) -> Configuration:
        try:
            return with_local(self.configuration, reload_local(self.configuration.local))
        except ConfigError as error:
            logger.error("the configuration was not reloaded: %s", error)
            return self.configuration

    def _use(self, wanted: Configuration) -> None:
        for line in wanted.warnings:
            if line not in self.configuration.warnings:
                logger.warning("%s", line)
        for change in changes(self.configuration, wanted):
            logger.info("changed: %s", change)
        self.configuration = wanted
        self._shared.settings = wanted.settings
        self._shared.dynamic_configuration = wanted.dynamic.values
        self._store.set_timing(timing_of(wanted.settings))
        self._driver.configure(postgres_config(wanted))


def timing_of(settings: Settings) -> Timing:
    """Return what a store may derive its own limits from."""
    return Timing(ttl_s=settings.ttl_s, loop_wait_s=settings.loop_wait_s, retry_timeout_s=settings.retry_timeout_s)
