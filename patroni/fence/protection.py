"""What keeps the guard alive and quick: no signal, no memory pressure, no descriptor of others (fence_facts.md rules 3, 29).

None of it is a condition of safety; each takes what an unprivileged process is allowed. Measured at RLIMIT_MEMLOCK 8 MB: all
but the largest read-only mappings are locked. Imported by the guard: nothing heavy here (see page.py); `_ctypes` alone
costs 0.2 MB, `ctypes` 0.5.
"""

from __future__ import annotations

import _ctypes
import _signal  # type: ignore[import-not-found]  # the module behind `signal`, which imports enum; no types exist for it
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_IGNORED = ("HUP", "INT", "QUIT", "TERM", "PIPE", "ALRM", "USR1", "USR2", "TSTP", "TTIN", "TTOU")
_OOM_SCORES = ("-1000", "-900", "-500", "0")  # the first that is allowed; below the inherited one none is
_MLOCK_ONFAULT = 1


class _Word(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001  # what ctypes.c_void_p is made of
    """A machine word as an argument."""

    _type_ = "P"


def ignore_signals() -> None:
    """Ignore whatever may be ignored: who ends a guard by SIGTERM ends the fence (safety_rules.md §4.5)."""
    for name in _IGNORED:
        _signal.signal(getattr(_signal, f"SIG{name}"), _signal.SIG_IGN)


def close_descriptors(kept: Collection[int]) -> None:
    """Close all descriptors but these; standard ones lead to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd not in kept:
            try:
                os.close(fd)
            except OSError:
                continue  # that of the listing itself


def survive_memory_pressure() -> None:
    """Ask to be killed last when memory is short, and not to be swapped."""
    for score in _OOM_SCORES:
        if _write("/proc/self/oom_score_adj", score.encode()):
            break
    _call("malloc_trim", 0)  # 1 MB that compiling needed, where the modules are not compiled yet
    for begin, end in _mappings():
        _call("mlock2", _Word(begin), _Word(end - begin), _MLOCK_ONFAULT)  # beyond the limit: ENOMEM


def _call(name: str, *words: _Word | int) -> None:
    """Call a function of the C library, where it has it."""
    try:
        function = _ctypes.dlsym(_ctypes.dlopen(None, 0), name)  # type: ignore[arg-type]  # None: what is loaded already
    except OSError:
        return
    _ctypes.call_function(function, words)


def _mappings() -> list[tuple[int, int]]:
    """Return own mappings, the writable ones first, then the small ones."""
    found = []
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            span, mode, *_ = line.split()
            begin, _, end = span.partition(b"-")
            if mode[:1] == b"r" and not line.rstrip().endswith((b"[vvar]", b"[vsyscall]", b"[vdso]", b"[vvar_vclock]")):
                first, last = int(begin, 16), int(end, 16)
                found.append((mode[1:2] != b"w", last - first, first, last))
    return [(first, last) for _, _, first, last in sorted(found)]


class Title:
    """The process title: the memory of the command line, written over."""

    def __init__(self) -> None:
        with open("/proc/self/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        self._begin, end = int(fields[45]), int(fields[46])
        self._room = end - self._begin
        self._memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
        _write("/proc/self/comm", b"patroni guard")

    def show(self, text: str) -> None:
        """Show this text in ps, as far as there is room."""
        shown = text.encode("utf-8", "replace")[: self._room - 1].ljust(self._room, b"\0")
        try:
            os.pwrite(self._memory, shown, self._begin)
        except OSError:
            return  # some kernels are built without it; a title is for people only


def _write(path: str, text: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, text)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
