"""Run Postgres' tools and configured programs: bounded, cancellable, without ever blocking other threads.

Each tool leads a session of its own, so that its end by a signal reaches its children too. No `cwd=`, no `preexec_fn` and no
vfork: on a hung disk a vfork holds the GIL and with it every thread (safety_rules.md §7.3).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patroni.postgres.call import Call
from patroni.postgres.request import PostgresError, PostgresTimeout

subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001  # no public switch

_OUTPUT_LIMIT_BYTES = 1 << 20
_TERM_GRACE_MS = 1000
_KILL_GRACE_MS = 1000

C_LOCALE: Mapping[str, str] = {"LANG": "C", "LC_ALL": "C"}  # for tools whose words are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A tool that ended by itself: its exit status (negative: by that signal) and what it printed."""

    status: int
    output: str

    @property
    def last_line(self) -> str:
        """Return the last line of the output that says something, for a one-line error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else "it printed nothing"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for children: the agent's without its own configuration (callbacks_and_scripts.md §2).

    A PGPASSWORD from the terminal goes where a password file is given, because libpq would prefer it.
    """
    given = dict(extra or {})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PATRONI_")}
    if "PGPASSFILE" in given:
        kept.pop("PGPASSWORD", None)
    return kept | given


class Tools:
    """Runs tools and knows which ones run now; used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: set[int] = set()

    def sessions(self) -> frozenset[int]:
        """Return the session ids of the tools that run now; one just begun may be missing, its parent is this process."""
        with self._lock:
            return frozenset(self._sessions)

    def run(
        self, call: Call, words: Sequence[str], extra: Mapping[str, str] | None = None, *, is_captured: bool = True
    ) -> Finished:
        """Run a program to its end; on timeout or cancellation it is ended with its children and the error goes on.

        is_captured: stdout and stderr are collected; otherwise they are the agent's own.
        """
        process = self._begin(words, extra, is_captured)
        try:
            output = _await(call, process, words[0])
            return Finished(status=process.wait(timeout=1), output=output)
        finally:
            with self._lock:
                self._sessions.discard(process.pid)
            if process.stdout is not None:
                process.stdout.close()

    def require(self, call: Call, words: Sequence[str], extra: Mapping[str, str] | None = None) -> str:
        """Run a program that must succeed and return what it printed; the error is one line with its last words."""
        finished = self.run(call, words, extra)
        if finished.status != 0:
            raise PostgresError(f"{os.path.basename(words[0])} failed (status {finished.status}): {finished.last_line}")
        return finished.output

    def _begin(self, words: Sequence[str], extra: Mapping[str, str] | None, is_captured: bool) -> subprocess.Popen[bytes]:
        try:  # not under the lock: on a hung disk the exec hangs
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if is_captured else None,
                stderr=subprocess.STDOUT if is_captured else None,
                env=environment(extra),
                start_new_session=True,
            )
        except OSError as error:
            raise PostgresError(f"cannot run {words[0]}: {error.strerror}") from error
        with self._lock:
            self._sessions.add(process.pid)
        return process


def _await(call: Call, process: subprocess.Popen[bytes], name: str) -> str:
    """Collect output until the process exits; children that keep the pipe open are not waited for."""
    exited = os.pidfd_open(process.pid)
    try:
        return _collect(call, process, exited, name)
    except BaseException:
        _end(process, exited)
        raise
    finally:
        os.close(exited)


def _collect(call: Call, process: subprocess.Popen[bytes], exited: int, name: str) -> str:
    pipe = process.stdout.fileno() if process.stdout is not None else None
    events = {exited: select.POLLIN}
    if pipe is not None:
        os.set_blocking(pipe, False)
        events[pipe] = select.POLLIN
    output = b""
    while True:
        came = call.wait(events, call.left_s())
        if pipe in came and pipe is not None:
            chunk = _read(pipe)
            output = (output + (chunk or b""))[-_OUTPUT_LIMIT_BYTES:]
            if chunk == b"":
                del events[pipe]
        elif exited in came:
            return output.decode(errors="replace")
        if not came:
            raise PostgresTimeout(f"{os.path.basename(name)} did not end in time")


def _read(pipe: int) -> bytes | None:
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return None


def _end(process: subprocess.Popen[bytes], exited: int) -> None:
    """End a tool and its children: SIGTERM, then SIGKILL; its group stays valid until it is reaped here."""
    poller = select.poll()
    poller.register(exited, select.POLLIN)
    for number, grace_ms in ((signal.SIGTERM, _TERM_GRACE_MS), (signal.SIGKILL, _KILL_GRACE_MS)):
        if number is signal.SIGKILL or not poller.poll(0):
            _signal_group(process.pid, number)
        poller.poll(grace_ms)
    process.poll()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # everybody in it is gone already
        os.killpg(pid, number)
