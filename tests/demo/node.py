"""A node of the demo: an agent and its Postgres in a directory of their own, to be killed and started again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import yaml

from tests.demo.sample import ROOT, Place, node_configuration
from tests.demo.status import Status, ask
from tests.support.backstop import processes_in
from tests.support.directories import give_to_servers, subdirectory
from tests.support.ports import reserve_port
from tests.support.process import Process
from tests.support.waiting import wait_until

_KILL_S = 10.0


class Node:
    """One of the three."""

    def __init__(self, number: int, parent: Path) -> None:
        """Choose its place; `write` makes its configuration."""
        self.number = number
        self.name = f"postgresql{number}"
        directory = subdirectory(parent, self.name)
        self.place = Place(directory=directory, postgres_port=reserve_port(), rest_port=reserve_port())
        self.configuration_file = directory / "patroni.yml"
        command: list[str | Path] = [sys.executable, ROOT / "patroni.py", self.configuration_file]
        self.agent = Process(command, directory, name="patroni")

    def write(self, store: Mapping[str, object]) -> None:
        """Write its configuration file."""
        configuration = node_configuration(self.number, self.place, store)
        self.configuration_file.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
        give_to_servers(self.configuration_file)

    def status(self) -> Status:
        """Ask it."""
        return ask(self.name, self.place.rest_port)

    def kill_postgres(self) -> None:
        """Kill the postmaster (SIGKILL); its children are the agent's care."""
        first_line = (self.place.directory / "data" / "postmaster.pid").read_text(encoding="ascii").splitlines()[0]
        os.kill(int(first_line), signal.SIGKILL)

    def kill(self) -> None:
        """Kill all that lives here at once, as when a machine loses its power."""

        def all_dead() -> bool:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            found[:] = processes_in(self.place.directory)
            return not found

        found = processes_in(self.place.directory)
        wait_until(all_dead, _KILL_S, f"the end of {self.name}")
        self.agent.kill()

    def restart(self) -> None:
        """Start the agent again, after its end."""
        self.agent.kill()
        self.agent.start()
