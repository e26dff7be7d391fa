"""One node of a test's cluster: a real agent, its configuration file, its Postgres, and its link to the store."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from tests.support.directories import give_to_servers, subdirectory
from tests.support.ports import reserve_port
from tests.support.process import Process
from tests.support.proxy import Proxy
from tests.support.sql import Row, Session, SqlFailed
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
SUPERUSER = "postgres"
PASSWORD = "postgres-password"
REST_TIMEOUT_S = 8.0  # a status is answered after 4 s at worst, when Postgres hangs
_KILL_TIMEOUT_S = 10.0

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the REST API answered."""

    status: int
    text: str

    @property
    def document(self) -> Document:
        """Return the body as JSON."""
        return cast(Document, json.loads(self.text))


class Node:
    """A node whose parts are started, killed and frozen one by one.

    `configuration` is what the file will say; after a change call `write_configuration`.
    """

    def __init__(self, name: str, directory: Path, configuration: Mapping[str, object], link: Proxy | None) -> None:
        """Prepare a node in a directory of its own below the cluster's.

        configuration: what is the same on all nodes. link: the proxy to the store, for this node alone; None: a file.
        """
        self.name = name
        self.directory = subdirectory(directory, name)
        self.data_dir = self.directory / "data"
        self.rest_port = reserve_port()
        self.postgres_port = reserve_port()
        self.link = link
        self.configuration_file = self.directory / "patroni.yml"
        self.configuration: dict[str, object] = {**configuration, "name": name, **self._own_sections(configuration)}
        self.agent = Process([sys.executable, ROOT / "patroni.py", self.configuration_file], self.directory, name="agent")
        self.write_configuration()

    def _own_sections(self, configuration: Mapping[str, object]) -> dict[str, object]:
        common = cast(Mapping[str, object], configuration.get("postgresql", {}))
        parameters = cast(Mapping[str, object], common.get("parameters", {}))
        address, rest = f"{HOST}:{self.postgres_port}", f"{HOST}:{self.rest_port}"
        return {
            "restapi": {"listen": rest, "connect_address": rest},
            "postgresql": {
                **common,
                "listen": address,
                "connect_address": address,
                "data_dir": str(self.data_dir),
                "pgpass": str(self.directory / "pgpass"),
                "parameters": {**parameters, "unix_socket_directories": str(self.directory)},
            },
        }

    def write_configuration(self) -> None:
        """Write the file that the agent reads at its start and at SIGHUP."""
        self.configuration_file.write_text(yaml.safe_dump(self.configuration))
        give_to_servers(self.configuration_file)

    # The agent.

    def start_agent(self) -> None:
        """Start the agent; nothing is waited for."""
        self.agent.start()

    def stop_agent(self, timeout_s: float = 60.0) -> int:
        """End the agent cleanly (SIGTERM), Postgres with it, and return the exit status."""
        return self.agent.stop(timeout_s)

    def kill_agent(self) -> None:
        """Kill the agent alone (SIGKILL); its Postgres runs on."""
        self.agent.kill()

    def freeze_agent(self) -> None:
        """Stop the agent's process (SIGSTOP)."""
        self.agent.pause()

    def continue_agent(self) -> None:
        """Let a frozen agent go on."""
        self.agent.go_on()

    def reload(self) -> None:
        """Have the agent read its file again (SIGHUP)."""
        self.agent.signal(signal.SIGHUP)

    def is_agent_running(self) -> bool:
        """Tell whether the agent's process lives."""
        return self.agent.is_running()

    def log(self) -> str:
        """Return all that the agent's runs wrote; empty before the first one."""
        return self.agent.log_file.read_text(errors="replace") if self.agent.log_file.exists() else ""

    # Postgres.

    def postmaster_pid(self) -> int | None:
        """Return the pid of the running postmaster, or None."""
        try:
            pid = int((self.data_dir / "postmaster.pid").read_text().split("\n")[0])
            where = os.readlink(f"/proc/{pid}/cwd")
        except (OSError, ValueError):
            return None
        return pid if where == str(self.data_dir.resolve()) else None

    def kill_postmaster(self) -> None:
        """Kill the postmaster alone (SIGKILL), as the kernel does when memory runs out; its children end themselves."""
        pid = self.postmaster_pid()
        assert pid is not None, f"no postmaster runs on {self.name}"
        os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill everything of this node, as a loss of power would: the agent, then all of Postgres."""
        self.agent.kill()
        wait_until(self._kill_round, _KILL_TIMEOUT_S, f"the end of all processes of {self.name}")

    def _kill_round(self) -> bool:
        """Kill what works in the node's directory; True: nothing was left. A server may fork while it is looked for."""
        inside = str(self.directory.resolve())
        is_empty = True
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                where = os.readlink(entry / "cwd") if entry.name.isdigit() else ""
                if where == inside or where.startswith(f"{inside}/"):
                    is_empty = False
                    os.kill(int(entry.name), signal.SIGKILL)
        return is_empty

    def sql(self, statement: str, *values: object, timeout_s: float = 10.0) -> list[Row]:
        """Run one statement here as superuser, in a session of its own; SqlFailed if there is no answer in time."""
        with Session(self.dsn, timeout_s) as session:
            return session.run(statement, values, timeout_s)

    def reads(self, statement: str) -> object:
        """Return the first value of a query's answer; None: there is none, or no answer at all."""
        try:
            rows = self.sql(statement, timeout_s=3.0)
        except SqlFailed:
            return None
        return rows[0][0] if rows else None

    @property
    def dsn(self) -> str:
        """Return how the superuser connects."""
        return f"host={HOST} port={self.postgres_port} dbname=postgres user={SUPERUSER} password={PASSWORD}"

    # The REST API.

    def ask(self, method: str, path: str, body: object | None = None, timeout_s: float = REST_TIMEOUT_S) -> Reply:
        """Ask the agent; raise OSError or HTTPException if there is no answer."""
        connection = http.client.HTTPConnection(HOST, self.rest_port, timeout=timeout_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return Reply(answer.status, answer.read().decode())
        finally:
            connection.close()

    def status_code(self, path: str) -> int | None:
        """Return the code of a GET; None: nobody answers."""
        try:
            return self.ask("GET", path).status
        except (OSError, http.client.HTTPException):
            return None

    def status(self) -> Document:
        """Return the status document; empty: nobody answers."""
        try:
            return self.ask("GET", "/patroni").document
        except (OSError, http.client.HTTPException):
            return {}

    def is_leader(self) -> bool:
        """Tell whether clients may write here. The API says 200 already while the promotion is under way."""
        try:
            reply = self.ask("GET", "/primary")
        except (OSError, http.client.HTTPException):
            return False
        return reply.status == 200 and (reply.document["role"], reply.document["state"]) == ("primary", "running")

    def is_streaming(self) -> bool:
        """Tell whether this is a running replica that streams."""
        status = self.status()
        return (status.get("state"), status.get("role"), status.get("replication_state")) == ("running", "replica", "streaming")

    def timeline(self) -> int | None:
        """Return the timeline that the agent reports; None: it does not say."""
        return cast("int | None", self.status().get("timeline"))

    def __repr__(self) -> str:
        """Name it."""
        return self.name
