"""The guard as a process: `guard_main.py DIRECTORY NAME PAGE_FD EXECUTABLE...` (design.md §5, safety_rules.md §4).

One loop: hear messages, take a turn of the guard, answer, wait as long as the guard says. Own session, no threads, no disk
after the start; what it knows beyond the page are its connections. Ends when nobody needs it: idle, or killed with nothing
left, and no agent connected. DIRECTORY: the real path of the data directory. NAME: of the abstract socket, which exactly one
guard can bind. PAGE_FD: the open page.

Messages on the socket (SOCK_SEQPACKET), one answer each, after a turn: `NUMBER [VERB]`, `NUMBER FORMAT STATE DONE PID [TEXT]`.
VERB agent: this connection is an agent's; the answer carries the page's descriptor. VERB disarm: stop guarding. VERB drill MS:
hold and thaw an unguarded server. A message that begins with `!` is a line for the log of whoever listens. All non-blocking:
what a frozen listener does not take is dropped.
"""

from __future__ import annotations

import _socket
import os
import select
import sys
import time

from patroni.fence import guard as g
from patroni.fence import page as p
from patroni.fence import protection, sweep
from patroni.fence.kernel import Kernel
from patroni.fence.page_file import PageFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from patroni.fence.guard import GuardSteps, V
    from patroni.fence.sweep import Answer

NAME_IS_TAKEN = 3  # exit status: another guard is there
_MESSAGE_BYTES = 512
_MESSAGES = 16  # of one connection before a turn
_CONNECTIONS = 32
_LINES = 50  # kept for an agent that is not there now
_FIRST_AGENT_NS = 10_000_000_000  # so long an unused guard waits for the agent that started it
_LINGER_NS = 3_000_000_000  # a start that was under way when its agent died may launch a postmaster after the kill
_FAULT_S = 0.05
_DRILL_LIMIT_MS = 5000


class Connection:
    """One client."""

    __slots__ = ("asked", "is_agent", "socket")

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.is_agent = False
        self.asked: list[str] = []

    def hear(self) -> bool:
        """Take the messages that wait; return whether the client is still there."""
        for _ in range(_MESSAGES):
            try:
                message = self.socket.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not message:
                return False
            self.asked.append(message.decode("utf-8", "replace"))
        return True

    def say(self, text: str, fd: int | None = None) -> bool:
        """Send a message, with a descriptor; return whether it was taken."""
        rights = [] if fd is None else [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
        try:
            self.socket.sendmsg([text.encode()[:_MESSAGE_BYTES]], rights, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True


class Runner:
    """Drives one guard."""

    def __init__(self, directory: str, file: PageFile, kernel: Kernel, listener: _socket.socket) -> None:
        self._directory = directory
        self._file = file
        self._kernel = kernel
        self._listener = listener
        self._guard = g.Guard(file.page)
        self._title = protection.Title()
        self._shown = ""
        self._connections: dict[int, Connection] = {}
        self._unheard: list[str] = []
        self._pause = select.poll()
        self._began_ns = _clock().boot_ns
        self._had_agent = False
        self._empty_since_ns: int | None = None  # killed, and nothing was left; None: not so

    def run(self) -> None:
        """Guard until nobody needs it."""
        self._file.page[p.GUARD_PID] = os.getpid()
        self._kernel.answer(sweep.FindProcesses())  # a rehearsal: what it needs is in memory from here on
        protection.survive_memory_pressure()
        while True:
            wait_ns = self._turn()
            self._tell()
            left_ns = self._useful_for_ns()
            if left_ns <= 0:
                break
            self._hear(min(wait_ns, left_ns))
        if self._guard.state == p.STATE_KILLED:
            self._file.page[p.STATE] = p.STATE_IDLE  # the work is done: who starts Postgres later is not killed for it

    # --- the guard

    def _turn(self) -> int:
        """Take a turn, and carry out what messages asked for. After a fault another guard goes on from the page."""
        try:
            wait_ns: int = self._drive(self._guard.turn())
            self._answer()
        except Exception as error:  # noqa: BLE001  # the outermost frame: with this process the fence would end
            self._guard = g.Guard(self._file.page)
            self._guard.said.append(f"a fault, trying again: {type(error).__name__}: {error}")
            self._pause.poll(_FAULT_S * 1000)
            return 0
        return wait_ns

    def _drive(self, steps: GuardSteps[V]) -> V:
        """Answer a generator's requests to its end."""
        answer: Answer | g.Clock = None
        while True:
            try:
                request = steps.send(answer)
            except StopIteration as end:
                value: V = end.value
                return value
            match request:
                case g.ReadClock():
                    answer = _clock()
                case sweep.Pause():
                    answer = None
                    self._pause.poll(request.seconds * 1000)
                case _:
                    answer = self._kernel.answer(request)

    # --- connections

    def _hear(self, wait_ns: int) -> None:
        """Wait for messages, at most so long, and take them."""
        poller = select.poll()
        poller.register(self._listener.fileno(), select.POLLIN)
        for fd in self._connections:
            poller.register(fd, select.POLLIN)
        for fd, _ in poller.poll(wait_ns / 1e6 if wait_ns < g.FOREVER_NS else None):
            if fd == self._listener.fileno():
                self._accept()
            elif not self._connections[fd].hear():
                self._connections.pop(fd).socket.close()

    def _accept(self) -> None:
        """Take a new connection of our user or of root."""
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001  # what socket.accept calls
        except OSError:
            return
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        socket.setblocking(False)
        peer = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        user = int.from_bytes(peer[4:8], sys.byteorder)
        if user not in (0, os.geteuid()) or len(self._connections) >= _CONNECTIONS:
            socket.close()
            return
        self._connections[fd] = Connection(socket)

    def _answer(self) -> None:
        for each in list(self._connections.values()):
            asked, each.asked = each.asked, []
            for message in asked:
                number, _, words = message.partition(" ")
                text, fd = self._obey(each, words.split())
                page = self._file.page
                each.say(f"{number} {p.FORMAT} {self._guard.state} {page[p.DONE]} {os.getpid()} {text}", fd)

    def _obey(self, client: Connection, words: list[str]) -> tuple[str, int | None]:
        """Do what a message asks for beyond an answer; return text and descriptor for it."""
        match words:
            case ["agent"]:
                client.is_agent = self._had_agent = True
                return "", self._file.fd
            case ["disarm"]:
                self._drive(self._guard.give_up())
                return "", None
            case ["drill", milliseconds] if milliseconds.isdigit() and int(milliseconds) <= _DRILL_LIMIT_MS:
                return self._drive(self._guard.drill(int(milliseconds) * 1_000_000)), None
            case []:
                return "", None
            case _:
                return "refused: not understood", None

    def _tell(self) -> None:
        """Tell what happened: to agents now or later, on the page, in the title."""
        said, self._guard.said = self._guard.said, []
        if said:
            self._file.page.note = said[-1]
        self._unheard = (self._unheard + said)[-_LINES:]
        agents = [each for each in self._connections.values() if each.is_agent]
        while agents and self._unheard and any(_tell_all(agents, self._unheard[0])):
            del self._unheard[0]
        text = f"patroni guard: {self._directory} {g.STATE_NAMES.get(self._guard.state, '?')}"
        if text != self._shown:
            self._shown = text
            self._title.show(text)

    def _useful_for_ns(self) -> int:
        """Return for how long this process is needed if nothing happens; <= 0: it may end."""
        if any(each.is_agent for each in self._connections.values()):
            self._empty_since_ns = None
            return g.FOREVER_NS
        now_ns = _clock().boot_ns
        if self._guard.state == p.STATE_IDLE:
            return 0 if self._had_agent else self._began_ns + _FIRST_AGENT_NS - now_ns
        if self._guard.state != p.STATE_KILLED or not self._guard.is_empty:
            self._empty_since_ns = None
            return g.FOREVER_NS
        self._empty_since_ns = self._empty_since_ns or now_ns
        return self._empty_since_ns + _LINGER_NS - now_ns


def _tell_all(agents: list[Connection], line: str) -> list[bool]:
    """Send everybody a line for the log; return who took it."""
    return [each.say(f"! {line}") for each in agents]


def _clock() -> g.Clock:
    return g.Clock(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW))


def main(words: list[str]) -> int:
    """Be the guard; the caller's child ends at once, with the socket open and another process behind it."""
    directory, name, page_fd, *executables = words
    protection.ignore_signals()
    protection.close_descriptors({int(page_fd)})
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        listener.bind("\0" + name)
    except OSError:
        return NAME_IS_TAKEN
    listener.listen(_CONNECTIONS)
    listener.setblocking(False)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.set_inheritable(int(page_fd), False)
    Runner(directory, PageFile(int(page_fd)), Kernel(directory, frozenset(executables)), listener).run()
    return 0
