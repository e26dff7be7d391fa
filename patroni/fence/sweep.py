"""Stop, continue and kill a whole Postgres, one process at a time (fence_facts.md §4, rules 8-21).

Promise of `hold`: when it returns HELD, every process of the server was signalled, and none was born unseen; from the last
signal on nothing is acknowledged. Mechanism: the postmaster is stopped first; a fork that was under way completes, so the scan
that ends the hold *begins* after the postmaster was seen stopped. A hold that is not complete is worse than none: whoever gets
another answer kills. Promise of `kill`: when it returns (), nobody of our user is left who runs Postgres in the data directory.
Not held: grandchildren (an archive_command, COPY TO PROGRAM); they cannot acknowledge.

Generators: each request is one effect or one look, and its driver may be frozen between any two. Imported by the guard:
nothing heavy here (see page.py).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Generator
    from typing import TypeVar

    V = TypeVar("V")

SIGKILL, SIGCONT, SIGSTOP = 9, 18, 19
ROUND_S = 0.0005
HOLD_ROUNDS = 2000  # 1 s; measured on a loaded machine: 127 ms
STOP_ROUNDS = 400  # 0.2 s for a postmaster that is to be killed
KILL_ROUNDS = 40
KILL_ROUND_S = 0.005
STOPPED, ZOMBIE = "Tt", "Z"

HELD, DIED, INCOMPLETE = "held", "died", "incomplete"


class Seen:
    """One process of the server as /proc shows it at one moment; `started` tells it from another one with its pid."""

    __slots__ = ("letter", "parent", "pid", "session", "started")

    def __init__(self, pid: int, started: int, parent: int, session: int, letter: str) -> None:
        """letter: the state letter of stat; T also for one in D with a SIGSTOP pending: it returns to no user code."""
        self.pid = pid
        self.started = started
        self.parent = parent
        self.session = session
        self.letter = letter

    @property
    def is_quiet(self) -> bool:
        """Whether it can do nothing more: stopped or dead."""
        return self.letter in STOPPED or self.letter == ZOMBIE


class FindProcesses:
    """Answer: tuple of Seen, every living process of our user whose executable is Postgres and whose cwd is the directory."""

    __slots__ = ()


class ListChildren:
    """Answer: tuple of pids, the children of a process, dead ones that nobody reaped included."""

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid


class Look:
    """Answer: Seen, or None: there is no such process."""

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid


class Send:
    """Send a signal. Answer: whether the process was there; False also where another one has its pid."""

    __slots__ = ("number", "pid", "started")

    def __init__(self, pid: int, started: int | None, number: int) -> None:
        """started: None where the pid cannot be reused: children of a stopped postmaster."""
        self.pid = pid
        self.started = started
        self.number = number


class Pause:
    """Wait so long. Answer: None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


if TYPE_CHECKING:
    Request = FindProcesses | ListChildren | Look | Send | Pause
    Answer = tuple[Seen, ...] | tuple[int, ...] | Seen | bool | None
    Steps = Generator[Request, Answer, V]


def hold(postmaster: Seen | None) -> Steps[str]:
    """Stop a server: HELD, DIED (its postmaster is dead: what is left may only be killed) or INCOMPLETE.

    postmaster: the known one, to be stopped before any scan; None: look for it.
    """
    if postmaster is not None:
        outcome = yield from _hold_family(postmaster)
        if outcome != HELD:
            return outcome
    for _ in range(3):  # a second postmaster on the directory, or one that was not known
        found = yield from _find()
        running = [each for each in found if not each.is_quiet]
        if not running:
            return HELD if found else DIED
        for root in _roots(found):
            outcome = yield from _hold_family(root)
            if outcome != HELD:
                return outcome
    return INCOMPLETE


def _hold_family(postmaster: Seen) -> Steps[str]:
    if not (yield Send(postmaster.pid, postmaster.started, SIGSTOP)):
        return DIED
    signalled: set[int] = set()
    for _ in range(HOLD_ROUNDS):
        seen = yield from _look(postmaster)
        if seen is None or seen.letter == ZOMBIE:
            return DIED
        is_stopped = seen.letter in STOPPED  # read before the children: a scan that began earlier may miss a fork
        fresh = yield from _stop_children(postmaster, signalled)
        if is_stopped and not fresh:
            return HELD
        yield Pause(ROUND_S)
    return INCOMPLETE


def _stop_children(postmaster: Seen, signalled: set[int]) -> Steps[int]:
    fresh = [pid for pid in (yield from _children(postmaster)) if pid not in signalled]
    for pid in fresh:
        yield Send(pid, None, SIGSTOP)
    signalled.update(fresh)
    return len(fresh)


def thaw(postmaster: Seen) -> Steps[bool]:
    """Let a held server go on, the postmaster last; return whether it was there (fence_facts.md rule 16)."""
    for pid in (yield from _children(postmaster)):
        yield Send(pid, None, SIGCONT)
    return bool((yield Send(postmaster.pid, postmaster.started, SIGCONT)))


def kill() -> Steps[tuple[Seen, ...]]:
    """End all processes of the server, postmaster last; return who is left: in the kernel, and gone when they return."""
    left = yield from _find()
    for _ in range(KILL_ROUNDS):
        if not left:
            break
        roots = _roots(left)
        for root in roots:
            yield from _stop(root)
        family = yield from _find()  # after the postmasters were stopped: nobody is born behind this scan
        yield from _send_kill([each for each in family if each.pid not in {root.pid for root in roots}])
        yield from _send_kill(roots)
        yield Pause(KILL_ROUND_S)
        left = yield from _find()
    return left


def _stop(root: Seen) -> Steps[None]:
    """Stop a process and wait until it is, within bounds: one in the kernel is killed without."""
    yield Send(root.pid, root.started, SIGSTOP)
    for _ in range(STOP_ROUNDS):
        seen = yield from _look(root)
        if seen is None or seen.is_quiet:
            return
        yield Pause(ROUND_S)


def _send_kill(processes: Collection[Seen]) -> Steps[None]:
    for each in processes:
        yield Send(each.pid, each.started, SIGKILL)


def _roots(found: tuple[Seen, ...]) -> list[Seen]:
    """Return the postmasters, and orphans: those whose parent is none of the server's."""
    pids = {each.pid for each in found}
    return [each for each in found if each.parent not in pids]


def find_postmaster() -> Steps[Seen | None]:
    """Return the server's postmaster: the one with the oldest start of those whose parent is none of them."""
    roots = _roots((yield from _find()))
    return min(roots, key=lambda each: each.started) if roots else None


def _find() -> Steps[tuple[Seen, ...]]:
    answer = yield FindProcesses()
    assert isinstance(answer, tuple)
    return tuple(each for each in answer if isinstance(each, Seen))


def _children(process: Seen) -> Steps[tuple[int, ...]]:
    answer = yield ListChildren(process.pid)
    assert isinstance(answer, tuple)
    return tuple(each for each in answer if isinstance(each, int))


def _look(process: Seen) -> Steps[Seen | None]:
    """Look at a process again; None: it is gone, also where another one has its pid."""
    answer = yield Look(process.pid)
    return answer if isinstance(answer, Seen) and answer.started == process.started else None


def find() -> Steps[tuple[Seen, ...]]:
    """Return every process of the server that lives."""
    return (yield from _find())


def look(process: Seen) -> Steps[Seen | None]:
    """See `_look`."""
    return (yield from _look(process))
