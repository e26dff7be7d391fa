"""Start the guard's process, or find the one that runs for a data directory.

A name in the kernel's abstract name space belongs to exactly one guard, so there are never two; who connects to it checks whose
process answers. The page's descriptor comes from the guard itself where one runs: its file may have been removed meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass

from patroni.fence import guard_main, page_file, runner
from patroni.fence import page as p
from patroni.fence.lock import page_name
from patroni.fence.page_file import PageFile, PageUnusable

ANSWER_S = 1.0  # no answer within it: no guard (safety_rules.md §4.2)
_START_S = 10.0  # an own start takes 0.05 s, on a busy machine much longer
_MESSAGE_BYTES = 1024
_KEPT = ("LD_LIBRARY_PATH",)  # some Pythons need it; the rest may hold passwords
subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001  # no public switch; safety_rules.md §7.3


class GuardUnavailable(Exception):
    """No guard runs and none can be started, or what answers is not one of ours; the message is one line for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a guard works."""

    directory: str  # real path of the data directory
    name: str  # of page and socket
    executables: frozenset[str]  # base names of Postgres' executable
    user: int  # user id of agent, guard and Postgres


def place(data_directory: str, executables: frozenset[str], user: int) -> Place:
    """Return the place of a data directory, which need not exist yet. Touches the disk."""
    real = os.path.realpath(data_directory)
    return Place(directory=real, name=page_name(real, user), executables=executables, user=user)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardAnswer:
    """What a guard says of itself."""

    state: int  # one of the page's STATE_ words
    done: int  # the order that it carried out last
    pid: int
    text: str  # the answer to a verb, empty where there is none


class Line:
    """A connection to a guard: one question at a time, in blocking calls with a deadline."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._number = 0
        self.said: list[str] = []  # lines for the log that came in between; whoever likes takes them

    def ask(self, verb: str = "", timeout_s: float = ANSWER_S) -> GuardAnswer:
        """Ask and return the answer; raise GuardUnavailable if none comes."""
        answer, fd = self.ask_for_page(verb, timeout_s)
        if fd is not None:
            os.close(fd)
        return answer

    def ask_for_page(self, verb: str, timeout_s: float = ANSWER_S) -> tuple[GuardAnswer, int | None]:
        """Ask; return the answer and the descriptor that came with it, which is the caller's to close."""
        self._number += 1
        try:
            self.socket.settimeout(timeout_s)
            self.socket.send(f"{self._number} {verb}".strip().encode(), socket.MSG_NOSIGNAL)
            while True:
                message, fds, _, _ = socket.recv_fds(self.socket, _MESSAGE_BYTES, 1)
                answer = self._answer(message.decode("utf-8", "replace"))
                if answer is not None:
                    return answer, next(iter(fds), None)
        except OSError as error:
            raise GuardUnavailable(f"the guard does not answer: {error.strerror or error}") from error

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def _answer(self, message: str) -> GuardAnswer | None:
        """Return the answer to the last question; None: it is something else."""
        if not message:
            raise GuardUnavailable("the guard has ended")
        if message.startswith("! "):
            self.said.append(message[2:])
            return None
        number, version, state, done, pid, text = message.split(" ", 5)
        if int(version) != p.FORMAT:
            raise GuardUnavailable(f"a guard of another version runs, pid {pid}; it ends after its Postgres, or idle")
        if int(number) != self._number:
            return None
        return GuardAnswer(state=int(state), done=int(done), pid=int(pid), text=text)


def connect(name: str, user: int) -> Line | None:
    """Connect to the guard; None: there is none. user: whose process it must be."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connected.settimeout(ANSWER_S)
    try:
        connected.connect("\0" + name)
    except ConnectionRefusedError:
        connected.close()
        return None
    except OSError as error:
        connected.close()
        raise GuardUnavailable(f"the guard's socket: {error.strerror or error}") from error
    _, owner, _ = struct.unpack("iii", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if owner != user:
        connected.close()
        raise GuardUnavailable(f"the guard's socket belongs to user id {owner}, not to {user}")
    return Line(connected)


def start(where: Place, file: PageFile) -> None:
    """Start a guard on this page; one that runs already is as good. Returns when its socket can be connected to."""
    python = os.path.realpath(sys.executable)  # not the environment's link: an isolated start needs nothing of it
    words = [python, "-I", "-S", "-E", os.path.realpath(guard_main.__file__), where.directory, where.name, str(file.fd)]
    try:
        starter = subprocess.Popen(
            [*words, *sorted(where.executables)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            pass_fds=(file.fd,),
            start_new_session=True,
        )
    except OSError as error:
        raise GuardUnavailable(f"cannot run {python}: {error.strerror}") from error
    status = _end_of(starter)
    if status not in (0, runner.NAME_IS_TAKEN):
        raise GuardUnavailable(f"the guard could not start: {python} ended with status {status}")


def _end_of(starter: subprocess.Popen[bytes]) -> int:
    """Wait for the process that leaves the guard behind; return its status."""
    ended = os.pidfd_open(starter.pid)
    try:
        if not select.select([ended], [], [], _START_S)[0]:
            starter.kill()
    finally:
        os.close(ended)
    return starter.wait(_START_S)


def own_page(where: Place) -> PageFile:
    """Open the page that an earlier agent left, or make a new one; the caller holds the data directory's lock."""
    try:
        return page_file.open_page(where.name, where.user) or page_file.make_page(where.name)
    except PageUnusable as error:
        raise GuardUnavailable(f"the guard's page: {error}") from error
