"""One real Postgres under its own driver."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path
from typing import TypeVar

from patroni.decision.cluster import SlotName
from patroni.decision.node import Process, Upstream
from patroni.decision.request import Request
from patroni.postgres import request as pg
from patroni.postgres.call import Call
from patroni.postgres.config import Credentials, PostgresConfig
from patroni.postgres.driver import Driver
from patroni.postgres.request import Files, Monitoring, Readiness, StopMode
from patroni.postgres.session import Row, connected
from tests.support.ports import reserve_port
from tests.support.postgres_binaries import PostgresBinaries
from tests.support.waiting import wait_until

T = TypeVar("T")

LIMIT_S = 30.0  # for a step that is expected to end; a busy machine may take long
HBA = (
    "local all all trust",
    "local replication all trust",
    "host all all 127.0.0.1/32 md5",
    "host replication replicator 127.0.0.1/32 md5",
)


class Node:
    """A Postgres in a directory of its own. Started servers write to the directory's log."""

    def __init__(self, name: str, directory: Path, binaries: PostgresBinaries) -> None:
        self.name = name
        self.directory = directory / name
        self.directory.mkdir(mode=0o700)
        self.data_dir = self.directory / "data"
        self.config = PostgresConfig(
            name=name,
            scope="demo",
            listen_host="127.0.0.1",
            port=reserve_port(),
            data_dir=str(self.data_dir),
            bin_dir=str(binaries.bin_dir),
            pgpass=str(self.directory / "pgpass"),
            superuser=Credentials(username="postgres", password="super:secret\\'"),
            replication=Credentials(username="replicator", password="rep secret"),
            rewind=Credentials(username="rewinder", password="rewind"),
            local_parameters={
                "unix_socket_directories": str(self.directory),
                "fsync": False,
                "logging_collector": "on",
                "log_directory": str(self.directory),
                "log_filename": "postgres.log",
                "autovacuum": "off",
                "wal_receiver_timeout": "2s",
                "wal_retrieve_retry_interval": "100ms",
            },
            pg_hba=HBA,
            initdb=[{"encoding": "UTF8"}, "data-checksums", {"auth": "trust"}, {"wal-segsize": "1"}, "no-sync"],
            basebackup=[{"checkpoint": "fast"}, "no-sync"],
            use_pg_rewind=True,
        )
        self.driver = Driver(self.config, time.monotonic)

    def change(self, **changes: object) -> None:
        """Use a changed configuration from now on."""
        self.config = dataclasses.replace(self.config, **changes)  # type: ignore[arg-type]  # names are checked at run time
        self.driver.configure(self.config)

    def do(self, request: Request[T], timeout_s: float = LIMIT_S) -> T:
        """Perform one request."""
        return self.driver.perform(request, timeout_s)

    @property
    def url(self) -> str:
        """Return what the member key would say."""
        return f"postgres://127.0.0.1:{self.config.port}/postgres"

    @property
    def upstream(self) -> Upstream:
        """Return this node as somebody's upstream."""
        return Upstream(member=self.name, host="127.0.0.1", port=self.config.port)

    def files(self) -> Files:
        """Return what the data directory says."""
        return self.do(pg.ReadFiles())

    def monitoring(self) -> Monitoring:
        """Return what the server says."""
        return self.do(pg.ReadMonitoring())

    def postmaster_pid(self) -> int:
        """Return the running postmaster's pid."""
        pid = self.files().postmaster_pid
        assert pid is not None
        return pid

    def sql(self, statement: str, database: str = "postgres") -> list[Row]:
        """Run a statement as superuser over the socket."""
        call = Call(LIMIT_S, time.monotonic)
        words = {"host": str(self.directory), "port": str(self.config.port), "user": "postgres", "dbname": database}
        try:
            with connected(call, words) as session:
                return session.run(call, statement)
        finally:
            call.close()

    def bootstrap(self) -> None:
        """Make a new cluster and leave it running."""
        self.do(pg.Initdb())
        self.start(is_standby=False)
        self.do(pg.CreateRoles())

    def copy_of(self, template: Node) -> None:
        """Take over the data directory of a node that was stopped cleanly."""
        shutil.copytree(template.data_dir, self.data_dir, symlinks=True)

    def start(self, *, is_standby: bool, upstream: Node | None = None, slot: str | None = None) -> None:
        """Write the configuration and start; return when it accepts connections."""
        target = dataclasses.replace(upstream.upstream, slot=SlotName(slot) if slot else None) if upstream else None
        self.do(pg.WriteConfiguration(is_standby=is_standby, upstream=target))
        self.do(pg.Launch())
        readiness = self.do(pg.AwaitReady(within_s=LIMIT_S))
        assert readiness is Readiness.ACCEPTING, f"{readiness}\n{self.log()}"

    def stop(self, mode: StopMode = StopMode.FAST) -> None:
        """Stop and wait until it is down."""
        self.do(pg.SignalStop(mode))
        assert self.do(pg.AwaitDown(within_s=LIMIT_S)), self.log()

    def promote(self) -> None:
        """Promote and wait until it is a primary."""
        self.do(pg.SignalPromote())
        wait_until(lambda: not self.monitoring().is_in_recovery, LIMIT_S, f"promotion of {self.name}", self.log)

    def wait_for_stream(self, upstream: Node) -> None:
        """Wait until this standby streams from there and has replayed what is there now."""
        position = upstream.monitoring().lsn
        wait_until(
            lambda: self.monitoring().replication_state == "streaming" and (self.monitoring().replay_lsn or 0) >= position,
            LIMIT_S,
            f"{self.name} streaming from {upstream.name}",
            self.log,
        )

    def log(self) -> str:
        """Return the end of the server's log."""
        path = self.directory / "postgres.log"
        return path.read_text()[-3000:] if path.exists() else "no log"

    def end(self) -> None:
        """Kill what is left."""
        self.do(pg.KillAll())
        assert self.files().process is Process.DOWN
        self.driver.close()
