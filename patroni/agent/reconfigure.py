"""Reconfigure: take over a changed config key, file or environment between two turns (contract/configuration.md §1.9).

A change that can't be used leaves the old configuration in force and says why, one line a fault. Files are read and written
by the file worker; what belongs to the loop's thread only compares and replaces records.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass

from patroni.agent.configure import postgres_config
from patroni.agent.logs import Logs
from patroni.agent.shared import Shared
from patroni.config.change import changes
from patroni.config.fault import ConfigError
from patroni.config.load import CACHE, Local, reload_local
from patroni.config.sections import StoreSection
from patroni.config.settings import Configuration, with_dynamic, with_local
from patroni.dcs.store import Store, StoreConfigError, Timing
from patroni.decision.cluster import Cluster
from patroni.decision.settings import Settings
from patroni.postgres.driver import Driver

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who uses the configuration and is told of a new one."""

    shared: Shared
    driver: Driver
    store: Store
    logs: Logs


class Reconfigurer:
    """Holds the configuration in force. `take…` belong to the loop's thread, `read` and `save` to the file worker."""

    def __init__(self, configuration: Configuration, users: Users) -> None:
        self.configuration = configuration
        self._users = users
        self._saved: str | None = None  # the dynamic layer as it was cached last; None: not by this process

    def take_view(self, cluster: Cluster) -> bool:
        """Take over the config key of a new view; return whether Postgres must be reloaded."""
        if cluster.config is None or not cluster.config.values:
            return False
        return self._use(with_dynamic(self.configuration, cluster.config.values))

    def take_local(self, local: Local) -> bool:
        """Take over a local layer that was read again; return whether Postgres must be reloaded."""
        try:
            return self._use(with_local(self.configuration, local))
        except ConfigError as error:
            logger.error("the configuration was not reloaded: %s", error)
            return False

    def read(self) -> Local | None:
        """Read file or directory again; None, and a line in the log, where that fails."""
        try:
            return reload_local(self.configuration.local)
        except ConfigError as error:
            logger.error("the configuration was not reloaded: %s", error)
            return None

    def save(self, data_dir: str) -> None:
        """Cache the dynamic layer in the data directory, if it changed (contract/configuration.md §1.7)."""
        text = json.dumps(dict(self.configuration.dynamic.values), default=str)  # a date of YAML as its text, as in the store
        if text == self._saved:
            return
        try:
            _replace_file(data_dir, text)
        except OSError as error:
            logger.error("%s was not written: %s", os.path.join(data_dir, CACHE), error.strerror or error)
        else:
            self._saved = text

    def _use(self, wanted: Configuration) -> bool:
        if wanted is self.configuration:
            return False
        for line in wanted.warnings:
            if line not in self.configuration.warnings:
                logger.warning("%s", line)
        found = changes(self.configuration, wanted)
        for change in found:
            logger.info("%s", change)
        if wanted.log != self.configuration.log:
            self._users.logs.apply(wanted.log)
        if wanted.store != self.configuration.store:
            self._reload_store(wanted.store)
        self.configuration = wanted
        self._users.shared.settings = wanted.settings
        self._users.shared.dynamic_configuration = wanted.dynamic.values
        self._users.store.set_timing(timing_of(wanted.settings))
        self._users.driver.configure(postgres_config(wanted))
        return any(change.path.startswith("postgresql.") for change in found)

    def _reload_store(self, section: StoreSection) -> None:
        """Let the store's client follow; another store is used after a restart only."""
        if section.kind != self.configuration.store.kind:
            return
        try:
            self._users.store.reload(section.values)
        except StoreConfigError as error:
            logger.error("%s; the former settings of %s stay in force", error, section.kind)


def _replace_file(directory: str, text: str) -> None:
    """Replace the cache whole, readable by the group where the data directory is."""
    fd, temporary = tempfile.mkstemp(prefix=CACHE, dir=directory)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o640 if os.stat(directory).st_mode & 0o040 else 0o600)
        os.replace(temporary, os.path.join(directory, CACHE))
    except OSError:
        os.unlink(temporary)
        raise


def timing_of(settings: Settings) -> Timing:
    """Return what a store may derive its own limits from."""
    return Timing(ttl_s=settings.ttl_s, loop_wait_s=settings.loop_wait_s, retry_timeout_s=settings.retry_timeout_s)
