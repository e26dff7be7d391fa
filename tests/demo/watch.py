"""The demo with a person: the live topology, what to try, and a supervisor that starts again what was killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.demo.sample import HOST, USER, superuser_password
from tests.demo.screen import Block, say
from tests.demo.site import Site
from tests.demo.status import Status, leader_of, sentence, table
from tests.demo.writer import Writer

_REFRESH_S = 0.5
_WRITE_PERIOD_S = 0.1
_RESTART_S = 15.0  # longer than the ttl, so that one sees a new leader first


def watch(site: Site) -> None:
    """Show it until a signal ends it."""
    pause = threading.Event()
    view = _View(site)
    supervisor = _Supervisor(site, view.note)
    with Writer(site.primary_port, _WRITE_PERIOD_S) as writer:
        view.begin()
        while not pause.wait(_REFRESH_S):
            supervisor.look(time.monotonic())
            view.refresh(writer)


def commands(site: Site, leader_name: str) -> list[str]:
    """Return what is worth trying in another terminal, with the ports and paths of this run."""
    leader = site.node(leader_name)
    home = leader.place.directory
    psql = f"PGPASSWORD={superuser_password()} psql -h {HOST} -U {USER}"
    request = f"""'{{"leader": "{leader_name}"}}'"""
    return [
        "worth trying in another terminal:",
        f"  write and read      {psql} -p {site.primary_port}",
        f"  read a replica      {psql} -p {site.replica_port}",
        f"  list the cluster    ./patronictl.py -c {leader.configuration_file} list",
        f"  switch over         curl -s -XPOST http://{HOST}:{leader.place.rest_port}/switchover -d {request}",
        f"  kill a Postgres     kill -9 $(head -1 {home}/data/postmaster.pid)",
        f"  kill a whole node   pkill -9 -f {home}/",
        f"  what an agent does  tail -f {leader.agent.log_file}",
        f"  what HAProxy sees   http://{HOST}:{site.statistics_port}/",
        f"what is killed here is started again after {_RESTART_S:g} s; Ctrl-C ends all of it and nothing else",
    ]


class _View:
    """On a terminal a block in place, with the commands for the present leader; elsewhere a line for each change."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._block = Block()
        self._began_s = time.monotonic()
        self._said = ""
        self._leader_name = site.nodes[0].name  # the last one seen

    def begin(self) -> None:
        """Print once what a block would show all the time."""
        self._note_leader()
        if not self._block.is_live:
            for line in commands(self._site, self._leader_name):
                say(line)

    def note(self, text: str) -> None:
        """Print a progress line above the block."""
        self._block.clear()
        say(text)

    def refresh(self, writer: Writer) -> None:
        """Show the present state."""
        statuses = self._note_leader()
        if self._block.is_live:
            tries = [f"  {line}" for line in commands(self._site, self._leader_name)]
            self._block.show(["", *table(statuses), "", self._writes(writer), "", *tries])
        elif (text := sentence(statuses)) != self._said:
            self._said = text
            say(text)

    def _note_leader(self) -> list[Status]:
        statuses = self._site.statuses()
        leader = leader_of(statuses)
        if leader is not None:
            self._leader_name = leader.name
        return statuses

    def _writes(self, writer: Writer) -> str:
        state = "going on" if writer.has_written_since(time.monotonic() - 1.0) else "AWAY"
        pause_s = writer.longest_pause_s(self._began_s)
        return f"  a client writes through HAProxy: {state}; {writer.count:,} rows; longest pause so far {pause_s:.1f} s"


class _Supervisor:
    """Starts again what ended, as an init system would, but late enough to see what happens without it."""

    def __init__(self, site: Site, note: Callable[[str], None]) -> None:
        self._site = site
        self._note = note
        self._ended_s: dict[str, float] = {}

    def look(self, now_s: float) -> None:
        """Say what ended, and start what ended long enough ago."""
        for what, process in self._site.processes.items():
            if process.is_running():
                continue
            if what not in self._ended_s:
                self._note(f"{what} ended; it is started again in {_RESTART_S:g} s")
            if now_s - self._ended_s.setdefault(what, now_s) >= _RESTART_S:
                del self._ended_s[what]
                process.kill()
                process.start()
                self._note(f"{what} is started again")
