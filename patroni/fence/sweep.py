"""Stop, continue and kill a whole Postgres, one process at a time (fence_facts.md §4, rules 8-21).

Promise of `hold`: when it returns HELD, every process of the server was signalled, and none was born unseen; from the last
signal on nothing is acknowledged. Mechanism: the postmaster is stopped first; a fork that was under way completes, so the scan
that ends the hold *begins* after the postmaster was seen stopped. A hold that is not complete is worse than none: whoever gets
another answer kills. Promise of `kill`: when it returns (), nobody of our user is left who runs Postgres in the data directory.
Not held: grandchildren (an archive_command, COPY TO PROGRAM); they cannot acknowledge. Not found: an orphan that left the data
directory by a function of its own.

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
VERIFY_ROUNDS = 3
KILL_ROUNDS = 20
WATCH_ROUNDS = 2  # after a kill: who is left is in the kernel, and a guard that waits for him hears nobody
KILL_ROUND_S = 0.005
STOPPED, ZOMBIE = "Tt", "ZX"

HELD = "complete"
DIED = "impossible: no postmaster lives"
LEADERLESS = "unsafe: its postmaster leads no session, so the kernel may continue it"
INCOMPLETE = "incomplete"


class Seen:
    """One process of the server as /proc shows it at one moment; `started` tells it from another one with its pid."""

    __slots__ = ("is_stopping", "letter", "parent", "pid", "session", "started")

    def __init__(self, pid: int, started: int, parent: int, session: int, letter: str) -> None:
        """letter: the state letter of stat."""
        self.pid = pid
        self.started = started
        self.parent = parent
        self.session = session
        self.letter = letter
        self.is_stopping = False  # a SIGSTOP is pending: it returns to no user code, but may yet finish a fork (rows 1c, 4a)

    @property
    def is_stopped(self) -> bool:
        """Whether it stands, or is dead: nobody is born of it any more."""
        return self.letter in STOPPED or self.letter in ZOMBIE

    @property
    def is_quiet(self) -> bool:
        """Whether it acknowledges nothing any more."""
        return self.is_stopped or self.is_stopping


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


class Held:
    """What came of a hold: its outcome, the postmaster that leads what is held, and how many were signalled."""

    __slots__ = ("count", "outcome", "postmaster")

    def __init__(self, outcome: str, postmaster: Seen | None = None, count: int = 0) -> None:
        self.outcome = outcome
        self.postmaster = postmaster
        self.count = count


def hold(known: Seen | None) -> Steps[Held]:
    """Stop a server. known: its postmaster at the last look, stopped before any scan; None, or dead by now: looked for."""
    if known is not None:
        held = yield from _hold_under(known)
        if held.outcome != DIED:
            return held
    found = yield from find_postmaster()  # started since the last look, or DIED: what is left may only be killed (rule 13)
    if found is None:
        return Held(DIED)
    return (yield from _hold_under(found))


def _hold_under(postmaster: Seen) -> Steps[Held]:
    """Hold one postmaster's server, then look with another eye whether that was all (rules 2, 8)."""
    if postmaster.session != postmaster.pid:
        return Held(LEADERLESS, postmaster)
    count = 0
    for _ in range(VERIFY_ROUNDS):
        outcome, signalled = yield from _hold_family(postmaster, HOLD_ROUNDS)
        count = max(count, 1 + signalled)
        if outcome != HELD:
            return Held(outcome, postmaster, count)
        if (yield from is_held(postmaster)):
            return Held(HELD, postmaster, count)
    return Held(INCOMPLETE, postmaster, count)


def _hold_family(postmaster: Seen, rounds: int) -> Steps[tuple[str, int]]:
    """Stop a postmaster and its children; return the outcome and how many children were signalled."""
    if not (yield Send(postmaster.pid, postmaster.started, SIGSTOP)):
        return DIED, 0
    signalled: set[int] = set()
    for _ in range(rounds):
        seen = yield from look(postmaster)  # before the children: a scan that began earlier may miss a fork
        if seen is None or seen.letter in ZOMBIE:
            return DIED, len(signalled)
        fresh = [pid for pid in (yield from _children(postmaster)) if pid not in signalled]
        for pid in fresh:
            yield Send(pid, None, SIGSTOP)
        signalled.update(fresh)
        if seen.is_stopped and not fresh:
            return HELD, len(signalled)
        yield Pause(ROUND_S)
    return INCOMPLETE, len(signalled)


def is_held(postmaster: Seen) -> Steps[bool]:
    """Return whether this postmaster and all that is its server stand still (rule 14)."""
    found = {each.pid: each for each in (yield from find())}
    seen = found.get(postmaster.pid)
    if seen is None or seen.started != postmaster.started or not seen.is_quiet:
        return False
    for each in found.values():
        is_grandchild = each.parent in found and each.parent != postmaster.pid  # about to be a program's shell
        is_other = postmaster.pid not in (each.parent, each.pid)  # an orphan, or a second postmaster
        if not is_grandchild and (is_other or not each.is_quiet):
            return False
    for pid in (yield from _children(postmaster)):
        if pid not in found and not (yield from _is_quiet(pid)):  # a child that left the directory
            return False
    return True


def _is_quiet(pid: int) -> Steps[bool]:
    seen = yield Look(pid)
    return not isinstance(seen, Seen) or seen.is_quiet


def thaw(postmaster: Seen) -> Steps[bool]:
    """Let a held server go on, the postmaster last (rule 16); return whether it was there. Orphans stay (rule 13)."""
    seen = yield from look(postmaster)
    if seen is None or seen.letter in ZOMBIE:
        return False
    for pid in (yield from _children(postmaster)):
        yield Send(pid, None, SIGCONT)
    return bool((yield Send(postmaster.pid, postmaster.started, SIGCONT)))


class Killed:
    """What came of a kill: how many were found, and who is left: in the kernel, and gone when they return."""

    __slots__ = ("count", "left")

    def __init__(self, count: int, left: tuple[Seen, ...]) -> None:
        self.count = count
        self.left = left


def kill(known: Seen | None = None, rounds: int = KILL_ROUNDS) -> Steps[Killed]:
    """End all processes of the server, postmaster last. known: its postmaster, ended with its children before any scan."""
    count = 0
    if known is not None:
        count = yield from _kill_family(known)
    left = yield from find()
    for _ in range(rounds):
        if not left:
            break
        count = max(count, (yield from _kill_round(left)))
        yield Pause(KILL_ROUND_S)
        left = yield from find()
    return Killed(count, left)


def _kill_family(root: Seen) -> Steps[int]:
    """Kill a postmaster and its children, also those that left the directory; return how many there were.

    All are stopped first, so that nobody acknowledges, nobody is born behind the scan, and nobody reacts to another one's end.
    """
    yield from _hold_family(root, STOP_ROUNDS)
    family = []
    for pid in (yield from _children(root)):
        child = yield Look(pid)
        if isinstance(child, Seen) and child.parent == root.pid:
            family.append(child)
    yield from _send_kill(family)
    return len(family) + bool((yield Send(root.pid, root.started, SIGKILL)))


def _kill_round(found: tuple[Seen, ...]) -> Steps[int]:
    """Kill whom one scan found; an orphan that is in the kernel holds up nobody."""
    for root in _postmasters(found):
        yield from _kill_family(root)
    yield from _send_kill(found)
    return len(found)


def kill_stopped() -> Steps[None]:
    """Kill orphans that a hold left behind: continued, each would finish its statement and acknowledge it (rule 13)."""
    yield from _send_kill([each for each in (yield from find()) if each.is_quiet])


def _send_kill(processes: Collection[Seen]) -> Steps[None]:
    for each in processes:
        yield Send(each.pid, each.started, SIGKILL)


def _postmasters(found: tuple[Seen, ...]) -> list[Seen]:
    """Return who is nobody's child here and has children; orphans have none, nor has a postmaster that began a moment ago."""
    pids = {each.pid for each in found}
    parents = {each.parent for each in found}
    return [each for each in found if each.parent not in pids and each.pid in parents]


def find_postmaster() -> Steps[Seen | None]:
    """Return the server's postmaster, the oldest if there are several; None: none lives, or it began a moment ago."""
    return min(_postmasters((yield from find())), key=lambda each: each.started, default=None)


def find() -> Steps[tuple[Seen, ...]]:
    """Return every process of the server that lives."""
    answer = yield FindProcesses()
    assert isinstance(answer, tuple)
    return tuple(each for each in answer if isinstance(each, Seen))


def look(process: Seen) -> Steps[Seen | None]:
    """Look at a process again; None: it is gone, also where another one has its pid."""
    answer = yield Look(process.pid)
    return answer if isinstance(answer, Seen) and answer.started == process.started else None


def _children(process: Seen) -> Steps[tuple[int, ...]]:
    answer = yield ListChildren(process.pid)
    assert isinstance(answer, tuple)
    return tuple(each for each in answer if isinstance(each, int))
