"""Start the postmaster so that it survives the agent, and wait until it is ready.

A short-lived helper in a session of its own forks, makes the child a session leader, reports its pid and start time, and
exits: the postmaster is nobody's child here, and no SIGHUP of an orphaned process group ever continues or ends it
(fence_facts.md rows 7a, 7c).
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import subprocess
import sys
from contextlib import suppress

from patroni.decision.node import Process
from patroni.postgres import conf, parameters, process
from patroni.postgres.call import Call
from patroni.postgres.control_data import read_words
from patroni.postgres.directory import require_whole
from patroni.postgres.look import look_at_processes
from patroni.postgres.request import AwaitReady, Launch, PostgresError, PostgresTimeout, Readiness
from patroni.postgres.server import Server
from patroni.postgres.tool import environment

# argv: descriptor to report on, then the postmaster's words. The report is a line "PID START_TICKS", made while the child
# cannot have been reaped yet, and another one if the exec failed.
_HELPER = r"""
import fcntl, os, sys
report = int(sys.argv[1])
fcntl.fcntl(report, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
pid = os.fork()
if pid == 0:
    try:
        os.setsid()
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        os.write(report, f"cannot run {sys.argv[2]}: {error.strerror}\n".encode())
    os._exit(127)
with open(f"/proc/{pid}/stat") as file:
    started = file.read().rpartition(")")[2].split()[19]
os.write(report, f"{pid} {started}\n".encode())
"""
_SOCKET_DIRECTORIES = "/tmp, /var/run/postgresql"  # of servers that nobody told where  # noqa: S108
_LOOK_S = 0.02
_PING_S = 1.0


def launch(server: Server, call: Call, request: Launch) -> int:
    """Start the postmaster; answers with its pid at once. One that runs already is the answer, too."""
    running = server.postmaster()
    if running is not None:
        return running.pid
    if look_at_processes(server) is not Process.DOWN:
        raise PostgresError(f"something of an earlier server still lives on {server.data_dir}")
    _check_directory(server)
    require_whole(server)
    words = [server.binaries().path("postgres"), *server_words(server, call)]
    server.heartbeat.close()
    server.rest.close()
    server.replication.close()
    pid, started_ticks = _start(call, words, _environment(server))
    living = process.pin(pid)
    if living is None or living.started_ticks != started_ticks:
        raise PostgresError("Postgres ended right after its start; its own log says why")
    server.adopt(living)
    return pid


def ignoring_stale_pid(server: Server) -> dict[str, str]:
    """Return the environment in which a new server ignores the pid in a lock file that is left over.

    That process is dead, perhaps not reaped yet, or another one that got the number.
    """
    file = process.read_pid_file(server.data_dir)
    pid = abs(file.pid) if file is not None else _socket_lock_pid(server)
    return {"PG_GRANDPARENT_PID": str(pid)} if pid is not None else {}


def _socket_lock_pid(server: Server) -> int | None:
    """Return the pid in a lock file beside a socket, which single-user mode leaves; None: none of this data directory."""
    written = parameters.wanted(server.config).get("unix_socket_directories", _SOCKET_DIRECTORIES)
    for directory in filter(None, (name.strip() for name in written.split(","))):
        path = os.path.join(server.data_dir, directory, f".s.PGSQL.{server.config.port}.lock")
        with suppress(OSError, ValueError), open(path, encoding="utf-8", errors="replace") as file:
            pid, owner = file.read(4096).split("\n")[:2]
            if owner == server.data_dir:
                return abs(int(pid))
    return None


def server_words(server: Server, call: Call) -> list[str]:
    """Return the postmaster's command line after the program (contract/configuration.md §6.3)."""
    config = server.config
    settings = parameters.wanted(config)
    if server.is_standby_on_disk():
        settings = parameters.raised(settings, read_words(server, call))
    conf = os.path.join(config.conf_dir, f"{config.config_base_name}.conf")
    return ["-D", server.data_dir, f"--config-file={conf}", *parameters.command_line(settings)]


def await_ready(server: Server, call: Call, request: AwaitReady) -> Readiness:
    """Wait until the server accepts connections or is gone; then say what it is."""
    limit_s = request.within_s
    if limit_s is None:
        limit_s = server.config.pg_ctl_timeout_s or call.left_s()
    deadline_s = call.until(limit_s)
    while True:
        living = server.postmaster()
        if living is None:
            return Readiness.GONE
        readiness = _readiness(server, call)
        left_s = deadline_s - call.now_s()
        if readiness is Readiness.ACCEPTING:
            conf.save_backups(server)
        if readiness is Readiness.ACCEPTING or left_s <= 0:
            return readiness
        call.wait({living.pidfd: select.POLLIN}, min(_LOOK_S, left_s))


def _readiness(server: Server, call: Call) -> Readiness:
    """Ask postmaster.pid first: a server that says `starting` need not be disturbed."""
    file = process.read_pid_file(server.data_dir)
    if file is None or file.status is None:
        return Readiness.NO_RESPONSE
    if file.status in ("starting", "stopping"):
        return Readiness.REJECTING
    server.adopt(server.known_postmaster())  # its port stands in the file by now
    return ping(server, call)


def ping(server: Server, call: Call) -> Readiness:
    """Do what pg_isready does: send a startup packet and look at the first answer."""
    words = server.local_words("ping")
    file = process.read_pid_file(server.data_dir)
    host, port = words.get("host") or (file.socket_dir if file else None) or "localhost", int(words["port"])
    for target in ("127.0.0.1", "::1") if host == "localhost" else (host.split(",")[0],):
        try:
            with _dial(target, port, min(_PING_S, call.left_s())) as dialled:
                return _first_answer(dialled, words)
        except TimeoutError:
            return Readiness.NO_RESPONSE
        except OSError:
            continue
    return Readiness.NO_RESPONSE


def _dial(host: str, port: int, timeout_s: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout=max(0.01, timeout_s))
    dialled = socket.socket(socket.AF_UNIX)
    dialled.settimeout(max(0.01, timeout_s))
    try:
        dialled.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        dialled.close()
        raise
    return dialled


def _first_answer(dialled: socket.socket, words: dict[str, str]) -> Readiness:
    """Send a startup packet; only SQLSTATE 57P03 (starting up, shutting down) means that it does not accept."""
    pairs = {"user": words.get("user", "postgres"), "database": words["dbname"], "application_name": "Patroni ping"}
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in pairs.items()) + b"\0"
    dialled.sendall(struct.pack("!ii", 8 + len(body), 3 << 16) + body)
    answer = dialled.recv(1024)
    if not answer:
        return Readiness.NO_RESPONSE
    is_refused = answer[:1] == b"E" and b"C57P03\0" in answer
    return Readiness.REJECTING if is_refused else Readiness.ACCEPTING


def _environment(server: Server) -> dict[str, str]:
    """Return the environment of the postmaster (contract/callbacks_and_scripts.md §11.2)."""
    inherited = environment(ignoring_stale_pid(server))
    kept = {name: value for name, value in inherited.items() if not name.startswith("KUBERNETES_")}
    kept.pop("NOTIFY_SOCKET", None)
    if server.config.replication.password:
        kept.pop("PGPASSWORD", None)  # the WAL receiver would prefer it to the password file
    return kept


def _start(call: Call, words: list[str], kept: dict[str, str]) -> tuple[int, int]:
    """Run the helper and return the pid and start time that it reports. kept: environment."""
    ours, theirs = os.pipe()
    try:
        helper = _helper(words, kept, theirs)
        report = _report(call, ours)
        helper.wait(timeout=max(0.1, call.left_s()))
    except subprocess.TimeoutExpired as error:
        raise PostgresTimeout("the helper that starts Postgres did not end in time") from error
    finally:
        os.close(ours)
    match report.split():
        case [pid, started_ticks] if pid.isdigit() and started_ticks.isdigit():
            return int(pid), int(started_ticks)
    faults = [line for line in report.splitlines() if not line.replace(" ", "").isdigit()]
    raise PostgresError(faults[0] if faults else "the helper that starts Postgres failed")


def _helper(words: list[str], kept: dict[str, str], report: int) -> subprocess.Popen[bytes]:
    """Start the helper and close our side of the descriptor that it reports on."""
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", "-c", _HELPER, str(report), *words],
            stdin=subprocess.DEVNULL,
            env=kept,
            pass_fds=(report,),
            start_new_session=True,
        )
    except OSError as error:
        raise PostgresError(f"cannot run {sys.executable}: {error.strerror}") from error
    finally:
        os.close(report)


def _report(call: Call, pipe: int) -> str:
    """Read until the helper and the postmaster's side of the pipe are closed by exec and exit."""
    report = b""
    while True:
        if not call.wait({pipe: select.POLLIN}, call.left_s()):
            raise PostgresTimeout("the helper that starts Postgres did not answer in time")
        chunk = os.read(pipe, 4096)
        if not chunk:
            return report.decode(errors="replace")
        report += chunk


def _check_directory(server: Server) -> None:
    """Say in one line what Postgres would refuse about the data directory."""
    server.require_major()
    status = os.stat(server.data_dir)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        raise PostgresError(f"data directory {server.data_dir} belongs to user id {status.st_uid}, not to {os.geteuid()}")
    if mode & 0o027:
        raise PostgresError(
            f"data directory {server.data_dir} has permissions {mode:04o}; Postgres accepts 0700 or 0750: chmod 0700 it"
        )
