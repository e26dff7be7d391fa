"""End a server: its stop signal, backends that hold it up, and the kill that leaves nobody (fence_facts.md rules 19-22).

Nothing here touches the data directory once the postmaster is known, so that a dead disk does not keep Postgres alive.
"""

from __future__ import annotations

import re
import select
import signal

from patroni.decision.node import Process
from patroni.postgres import process
from patroni.postgres.call import Call
from patroni.postgres.look import look_at_processes
from patroni.postgres.process import Living
from patroni.postgres.request import AwaitDown, EndBackends, KillAll, PostgresTimeout, SignalStop, StopMode
from patroni.postgres.server import Server

_STOPPED_WITHIN_S = 0.2  # seen: <= 127 ms under load
_SCAN_S = 0.0005
_LOOK_S = 0.05
_SIGNALS = {StopMode.FAST: signal.SIGINT, StopMode.IMMEDIATE: signal.SIGQUIT}
# Process titles of everything that is no client (contract/ha_behaviour.md §6.4 row 6); walsenders are judged apart.
_AUXILIARY = (
    "archiver",
    "startup",
    "autovacuum",
    "checkpointer",
    "logger",
    "syslogger",
    "stats collector",
    "background writer",
    "wal writer",
    "walwriter",
    "writer",
    "wal receiver",
    "walreceiver",
    "wal sender process",
    "logical replication",
    "datachecksum",
    "slotsync worker",
    "walsummarizer",
    "io worker",
    "bgworker",
)


def signal_stop(server: Server, call: Call, request: SignalStop) -> None:
    """Send the postmaster its stop signal; nobody there is no error."""
    living = server.known_postmaster() if request.mode is StopMode.IMMEDIATE else server.postmaster()
    if living is not None:
        living.signal(_SIGNALS[request.mode])
    elif request.mode is StopMode.IMMEDIATE:
        _quit_unknown(server)


def _quit_unknown(server: Server) -> None:
    """SIGQUIT to whatever of this server is found without its data directory: the fence's thread comes here."""
    for living in process.leftovers(server.data_dir, server.server_names, server.tools.sessions()):
        if process.executable(living.pid) in server.server_names:
            living.signal(signal.SIGQUIT)


def end_backends(server: Server, call: Call, request: EndBackends) -> None:
    """SIGTERM to client backends and logical walsenders; never SIGKILL, which would make the shutdown unclean."""
    living = server.postmaster()
    if living is None:
        return
    for pid in process.children(living.pid):
        title = process.title(pid)
        is_logical = pid in server.logical_walsenders and "walsender " in title
        if is_logical or is_client(title, server.config.scope, server.config.replication.username):
            child = process.pin(pid)
            if child is not None and pid in process.children(living.pid):
                child.signal(signal.SIGTERM)


def is_client(title: str, cluster_name: str, replication_user: str | None) -> bool:
    """Return whether a child with this process title is a client backend or a logical walsender.

    From 18 on a logical walsender's title names its database after its user, a physical one's does not; before, both look
    alike and the last monitoring query knows.
    """
    text = title.removeprefix("postgres: ").removeprefix(f"{cluster_name}: ")
    if not title.startswith("postgres: ") or not text:
        return False
    if text.startswith("walsender "):
        found = re.match(r"walsender (.*?) ?(\S+\(\d+\)|\[local\])", text)
        return found is not None and found[1] != replication_user and " " in found[1]
    return not text.startswith(_AUXILIARY)


def await_down(server: Server, call: Call, request: AwaitDown) -> bool:
    """Wait until Postgres is down; answers whether it is."""
    deadline_s = call.until(request.within_s)
    while True:
        living = server.known_postmaster()
        if living is None and look_at_processes(server) is Process.DOWN:
            return True
        left_s = deadline_s - call.now_s()
        if left_s <= 0:
            return False
        if living is not None:
            call.wait({living.pidfd: select.POLLIN}, left_s)
        else:
            call.wait({}, min(_LOOK_S, left_s))


def kill_all(server: Server, call: Call, request: KillAll) -> None:
    """SIGKILL everything of this server: stopped children first, postmaster last, then leftovers; waits until they are dead.

    Reads nothing of the data directory, whose disk may hang: a postmaster that is not known is found among the leftovers.
    """
    living = server.known_postmaster()
    killed = _kill_family(living, call) if living is not None else []
    while found := process.leftovers(server.data_dir, server.server_names, server.tools.sessions()):
        for leftover in found:
            leftover.signal(signal.SIGKILL)
        _await_deaths(found, call)
    _await_deaths(killed, call)


def _kill_family(living: Living, call: Call) -> list[Living]:
    """Stop the postmaster, kill its children, then itself. No SIGCONT at any time: a continued child acknowledges."""
    living.signal(signal.SIGSTOP)
    deadline_s = call.until(_STOPPED_WITHIN_S)
    seen: dict[int, Living] = {}
    while living.is_alive():
        was_stopped = process.state(living.pid) in ("T", "t", "Z") or call.now_s() >= deadline_s
        new = [pid for pid in process.children(living.pid) if pid not in seen]
        for pid in new:
            child = process.pin(pid)
            if child is not None:
                seen[pid] = child
                child.signal(signal.SIGKILL)
        if was_stopped and not set(new) & set(seen):
            break  # a scan that began after it was seen stopped found nobody new (rule 8)
        call.wait({living.pidfd: select.POLLIN}, _SCAN_S)
    living.signal(signal.SIGKILL)
    return [*seen.values(), living]


def _await_deaths(killed: list[Living], call: Call) -> None:
    """Wait for the deaths; one in an uninterruptible wait dies when that ends, and acknowledges nothing before."""
    for one in killed:
        if not call.wait({one.pidfd: select.POLLIN}, call.left_s()):
            alive = [str(other.pid) for other in killed if other.is_alive()]
            raise PostgresTimeout(f"killed, but still in the kernel: {', '.join(alive)}")
