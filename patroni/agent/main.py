"""The agent's entry: command line, configuration, privileges, and the checks before anything is started.

Whatever is wrong here is one clear line that names the key, file or address, and exit status 1; nothing was touched then.
Order and exit codes: contract/cli.md §5.2-5.3; a second agent on the data directory: safety_rules.md §4.2.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from patroni.agent import clock
from patroni.agent.agent import Agent, Plan
from patroni.agent.answers import Clocks
from patroni.agent.configure import client_config, own_directories, postgres_config, rest_config
from patroni.agent.logs import EXIT_FULL, Logs
from patroni.agent.member import publication
from patroni.agent.perform import FAILURES
from patroni.agent.port import holder
from patroni.agent.preflight import faults, faults_of_rest
from patroni.agent.privilege import PrivilegeError, drop_root
from patroni.agent.reconfigure import Reconfigurer, Users, timing_of
from patroni.agent.shared import Shared
from patroni.config.environment import capture
from patroni.config.fault import ConfigError
from patroni.config.load import load_local, read_cache
from patroni.config.settings import Configuration, build, is_standby_cluster, with_dynamic
from patroni.config.unsupported import STANDBY_CLUSTER
from patroni.dcs.coordinator import Coordinator, drive
from patroni.dcs.path import cluster_prefix
from patroni.dcs.store import Store, StoreConfigError
from patroni.dcs.stores import open_store
from patroni.decision.cluster import Cluster
from patroni.fence.lock import DataDirectoryTaken, lock_data_directory
from patroni.postgres.driver import Driver
from patroni.postgres.request import PostgresError
from patroni.rest.client import PeerClient
from patroni.rest.server import tls_context
from patroni.version import COMPATIBILITY, VERSION

logger = logging.getLogger(__name__)
RETRY_S = 5.0
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Refusal(Exception):
    """The agent must not start; the message is the line for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What the checks of the start have made."""

    configuration: Configuration
    store: Store
    coordinator: Coordinator
    peers: PeerClient
    logs: Logs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent; return its exit status."""
    options = _parser().parse_args(arguments)
    logs = Logs()
    try:
        configuration = _configuration(options.configfile)
        logs.install()
        said = drop_root(_data_dir(configuration), own_directories(configuration), CHECKOUT)
        logs.apply(configuration.log)  # after that: its file belongs to whom it will be rotated by
    except (ConfigError, PrivilegeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    logger.info(
        "patroni-agent %s (compatible with %s), %s of %s", VERSION, COMPATIBILITY, configuration.name, configuration.scope
    )
    for line in (said, *configuration.warnings):
        if line:
            logger.warning("%s", line)
    logs.start()
    status = _guarded(configuration, logs)
    return status if logs.close(5.0) else EXIT_FULL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="patroni",
        description="High-availability agent for PostgreSQL: one beside each server.",
        epilog="SIGHUP: read the configuration again. SIGTERM, SIGINT: stop Postgres, hand over, end.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}", help="print the version and end")
    parser.add_argument(
        "configfile",
        nargs="?",
        help="YAML file, or a directory of them, with the PATRONI_* variables laid over it; without it the text in "
        "PATRONI_CONFIGURATION, else the variables alone",
    )
    return parser


def _configuration(path: str | None) -> Configuration:
    local = load_local(path, capture(os.environ))
    configuration = build(local, None)
    return build(local, read_cache(_data_dir(configuration)))


def _data_dir(configuration: Configuration) -> str:
    return os.path.abspath(configuration.values.get("postgresql.data_dir", str))


def _guarded(configuration: Configuration, logs: Logs) -> int:
    """Run with everything that may refuse the start turned into one line."""
    try:
        lock = lock_data_directory(_data_dir(configuration), configuration.name)
        try:
            return _run(configuration, logs)
        finally:
            lock.close()
    except (Refusal, ConfigError, StoreConfigError, DataDirectoryTaken, PostgresError) as error:
        logger.critical("%s", error)
        return 1


def _run(configuration: Configuration, logs: Logs) -> int:
    _refuse_faults(configuration)
    peers = _peers(configuration)
    stopped = _Stopped()
    coordinator = Coordinator(prefix=cluster_prefix(configuration.namespace, configuration.scope), name=configuration.name)
    settings = configuration.settings
    store = open_store(
        configuration.store.kind,
        configuration.store.values,
        timing=timing_of(settings),
        clock=clock.now,
    )
    begun = _Begun(configuration=configuration, store=store, coordinator=coordinator, peers=peers, logs=logs)
    cluster = _first_view(begun, stopped)
    if cluster is None:
        return 0
    _refuse_duplicate(begun, cluster)
    if cluster.config is not None and cluster.config.values:
        configuration = with_dynamic(configuration, cluster.config.values)
    if is_standby_cluster(configuration.switches):
        raise Refusal(STANDBY_CLUSTER)
    return _serve(begun, configuration)


def _serve(begun: _Begun, configuration: Configuration) -> int:
    driver = Driver(postgres_config(configuration), lambda: clock.now().boot_s)
    shared = Shared(settings=configuration.settings, dynamic_configuration=configuration.dynamic.values)
    reconfigurer = Reconfigurer(configuration, Users(shared=shared, driver=driver, store=begun.store, logs=begun.logs))
    rest = rest_config(configuration)
    plan = Plan(
        name=configuration.name,
        scope=configuration.scope,
        own_version=VERSION,
        store=begun.store,
        coordinator=begun.coordinator,
        driver=driver,
        peers=begun.peers,
        shared=shared,
        rest=rest,
        publication=lambda touch, served: publication(touch, reconfigurer.configuration, served),
        use_client=begun.peers.configure,
        reconfigurer=reconfigurer,
        data_dir=_data_dir(configuration),
    )
    agent = Agent(plan)
    try:
        agent.bind()
    except OSError as error:
        address = f"restapi.listen: {rest.host or '*'}:{rest.port}: "
        raise Refusal(f"{address}{(error.strerror or str(error)).removeprefix(address)}{holder(rest.port)}") from error
    return agent.run()


class _Stopped:
    """Whether a signal ended the start; afterwards the agent installs its own handlers."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the start is to end."""
        return self._event.wait(seconds)


def _first_view(begun: _Begun, stopped: _Stopped) -> Cluster | None:
    """Read the cluster; while the store is away wait for it and say so. None: a signal came first."""
    retry_timeout_s = begun.configuration.settings.retry_timeout_s
    while True:
        try:
            return drive(begun.coordinator.read(is_linearizable=True), begun.store, clock.now, retry_timeout_s)
        except FAILURES as failure:
            logger.warning("waiting for the store (%s): %s", begun.configuration.store.kind, failure)
        if stopped.wait(RETRY_S):
            return None


def _refuse_faults(configuration: Configuration) -> None:
    """Refuse to start where it can be told that this node could not work."""
    found = [
        *faults(postgres_config(configuration)),
        *faults_of_rest(rest_config(configuration), client_config(configuration)),
    ]
    for fault in found[:-1]:
        logger.critical("%s", fault)
    if found:
        raise Refusal(found[-1])
    tls = rest_config(configuration).tls
    try:
        if tls is not None:
            tls_context(tls)
    except OSError as error:  # every file is there, so what is in one of them is wrong
        raise Refusal(f"restapi.certfile, restapi.keyfile, restapi.cafile: {error}") from error


def _peers(configuration: Configuration) -> PeerClient:
    try:
        return PeerClient(client_config(configuration), VERSION, Clocks())
    except OSError as error:
        raise Refusal(f"ctl.certfile, ctl.keyfile, ctl.cacert: {error}") from error


def _refuse_duplicate(begun: _Begun, cluster: Cluster) -> None:
    """Refuse to start beside a living agent of our name (contract/dcs.md §2 rule 9)."""
    name = begun.configuration.name
    member = cluster.members.get(name)
    if member is not None and member.api_url is not None and begun.peers.is_alive(member.api_url):
        raise Refusal(f"name: a member {name} is running already, its REST API answers at {member.api_url}")
