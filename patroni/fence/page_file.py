"""The page as a file in memory: made by the agent, mapped by agent, guard and whoever wants to look.

Imported by the guard: nothing heavy here (see page.py).
"""

from __future__ import annotations

import mmap
import os
import stat

from patroni.fence import page as p

DIRECTORY = "/dev/shm"  # noqa: S108  # memory of this boot; owner and mode are checked by what opens files in it
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class PageUnusable(Exception):
    """The file in the page's place is none of ours: a link, another user's, open to others."""


class PageFile:
    """An open page. The file may be unlinked meanwhile; who has it open shares it nevertheless."""

    def __init__(self, fd: int, *, is_writable: bool = True) -> None:
        """fd: closed by `close`."""
        self.fd = fd
        self._map = mmap.mmap(fd, p.SIZE, prot=mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0))
        self.page = p.Page(memoryview(self._map))

    def close(self) -> None:
        """Let go of it; the file stays."""
        self.page.close()
        self._map.close()
        os.close(self.fd)


def open_page(name: str, user: int, *, is_writable: bool = True) -> PageFile | None:
    """Open the page of a data directory; None: there is none, or it is of another boot or format and says nothing.

    user: who must own it; raises PageUnusable for what nobody of us made.
    """
    path = os.path.join(DIRECTORY, name)
    try:
        fd = os.open(path, (os.O_RDWR if is_writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PageUnusable(f"{path}: {error.strerror}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != user or status.st_mode & 0o077:
        os.close(fd)
        raise PageUnusable(f"{path}: not a file of user id {user} with mode 0600")
    if status.st_size < p.SIZE:
        os.close(fd)
        return None
    file = PageFile(fd, is_writable=is_writable)
    if file.page[p.FORMAT_FIELD] == p.FORMAT and file.page[p.BOOT_ID] == boot_id():
        return file
    file.close()
    return None


def make_page(name: str) -> PageFile:
    """Make a new page in the place of one that says nothing. One agent a data directory does this at a time (lock.py)."""
    path = os.path.join(DIRECTORY, name)
    draft = path + ".new"
    try:
        os.unlink(draft)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PageUnusable(f"{draft}: {error.strerror}") from error
    try:
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PageUnusable(f"{draft}: {error.strerror}") from error
    try:
        os.posix_fallocate(fd, 0, p.SIZE)  # now, not at the first write, whose SIGBUS would end the process
    except OSError as error:
        os.close(fd)
        raise PageUnusable(f"{draft}: {error.strerror}") from error
    file = PageFile(fd)
    file.page.clear()
    file.page[p.BOOT_ID] = boot_id()
    file.page[p.STATE] = p.STATE_IDLE
    file.page[p.FORMAT_FIELD] = p.FORMAT
    os.rename(draft, path)  # whoever opens it sees a whole page
    return file


def boot_id() -> int:
    """Return 64 bits of the kernel's boot id."""
    fd = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 64).decode().replace("-", "")[:16], 16)
    finally:
        os.close(fd)
