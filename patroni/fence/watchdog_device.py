"""A watchdog device: what can be asked of it, and who carries it out: the Linux one, and one that writes down what it is asked.

From `open` on the device's timer runs, and the machine is reset when it ends; `keepalive` starts it anew. Only `close` stops
it, by the letter V (magic close): the kernel closes what a killed agent leaves, without that letter, and the timer goes on.
Descriptors are not inherited: a child that held one, a Postgres say, would keep the device busy.

Threads: each call is one or two system calls, and none waits for a reader (O_NONBLOCK); but a driver may sleep in an ioctl
(IPMI asks its controller), and opening looks up a path. So all belong to one thread of their own, never to the loop or the
keeper (safety_rules.md §7.2), nor to the file workers: a hung disk would leave the timer unfed, and reset the machine.
The names of the interface are those of linux/watchdog.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from patroni.decision.request import Request, Steps

T = TypeVar("T")
Ioctl = Callable[[int, int, bytearray], object]  # of a descriptor; what the kernel answers is written into the last
MAGIC_CLOSE = b"V"
PING = b"\0"  # any byte but V


class WatchdogError(Exception):
    """The device did not do it; the message is one line for an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What an open device says that it can do."""

    identity: str  # of its driver
    can_set_timeout: bool
    can_disarm: bool  # whether V stops it; with `nowayout` of the driver even then it goes on


# --- requests; what fails raises WatchdogError


@dataclass(frozen=True, slots=True)
class OpenDevice(Request[Support]):
    """Open the device: its timer runs from here on, with the timeout that it has."""

    path: str
    driver: str


@dataclass(frozen=True, slots=True)
class SetTimeout(Request[None]):
    """Ask for a timeout; the device may take another one."""

    timeout_s: int


@dataclass(frozen=True, slots=True)
class ReadTimeout(Request[int]):
    """Return the timeout in force, in s."""


@dataclass(frozen=True, slots=True)
class KeepAlive(Request[None]):
    """Start the timer anew."""


@dataclass(frozen=True, slots=True)
class CloseDevice(Request[None]):
    """Stop the timer and close the device; closed it is in any case."""


@dataclass(frozen=True, slots=True)
class ProbeDevice(Request[bool]):
    """Return whether a device is there that this process may write to; it is not opened."""

    path: str
    driver: str


# --- devices


class Device(Protocol):
    """An open device."""

    @property
    def support(self) -> Support:
        """What it can do."""

    def set_timeout(self, timeout_s: int) -> None:
        """See `SetTimeout`."""

    def timeout_s(self) -> int:
        """See `ReadTimeout`."""

    def keepalive(self) -> None:
        """See `KeepAlive`."""

    def close(self) -> None:
        """See `CloseDevice`."""


OpenBy = Callable[[str], Device]  # of a path; raises WatchdogError

SETTIMEOUT, MAGICCLOSE, KEEPALIVEPING = 0x0080, 0x0100, 0x8000  # WDIOF_: bits of the options
_INFO = struct.Struct("=II32s")  # struct watchdog_info: options, firmware version, identity
_INT = struct.Struct("=i")


def operation(number: int, size: int, machine: str, *, is_written: bool = False) -> int:
    """Return the code of an ioctl that answers `size` bytes: asm-generic's, or the other one of a few machines."""
    is_other = machine.startswith(("ppc", "powerpc", "mips", "sparc", "alpha"))
    read, write, shift = (2, 4, 29) if is_other else (2, 1, 30)
    return (read | (write if is_written else 0)) << shift | size << 16 | ord("W") << 8 | number


_MACHINE = os.uname().machine
GET_SUPPORT = operation(0, _INFO.size, _MACHINE)
KEEP_ALIVE = operation(5, _INT.size, _MACHINE)
SET_TIMEOUT = operation(6, _INT.size, _MACHINE, is_written=True)
GET_TIMEOUT = operation(7, _INT.size, _MACHINE)


class LinuxDevice:
    """A device of the kernel, see `Device`."""

    def __init__(self, fd: int, ioctl: Ioctl) -> None:
        """fd: open for writing; it belongs to this object. Raise OSError where it is no watchdog; then it is still open."""
        self._fd = fd
        self._ioctl = ioctl
        info = bytearray(_INFO.size)
        ioctl(fd, GET_SUPPORT, info)
        self._options, _, identity = _INFO.unpack(info)
        self.support = Support(
            identity=identity.split(b"\0")[0].decode("utf-8", "replace"),
            can_set_timeout=bool(self._options & SETTIMEOUT),
            can_disarm=bool(self._options & MAGICCLOSE),
        )

    def set_timeout(self, timeout_s: int) -> None:
        """See `Device`."""
        _done("timeout", lambda: self._ioctl(self._fd, SET_TIMEOUT, bytearray(_INT.pack(timeout_s))))

    def timeout_s(self) -> int:
        """See `Device`."""
        answer = bytearray(_INT.size)
        _done("timeout", lambda: self._ioctl(self._fd, GET_TIMEOUT, answer))
        return int(_INT.unpack(answer)[0])

    def keepalive(self) -> None:
        """See `Device`. A driver without this ioctl takes any byte for it."""
        if self._options & KEEPALIVEPING:
            _done("keepalive", lambda: self._ioctl(self._fd, KEEP_ALIVE, bytearray(_INT.size)))
        else:
            _done("keepalive", lambda: os.write(self._fd, PING))

    def close(self) -> None:
        """See `Device`. V is written even where it seems to have no meaning: closing alone stops some of those drivers."""
        try:
            _done("magic close", lambda: os.write(self._fd, MAGIC_CLOSE))
        finally:
            os.close(self._fd)


def open_linux(path: str, ioctl: Ioctl = fcntl.ioctl) -> LinuxDevice:
    """Open a device of the kernel."""
    fd = _opened(path, 0)
    if not stat.S_ISCHR(os.fstat(fd).st_mode):  # a V must not get into somebody's file
        os.close(fd)
        raise WatchdogError("is not a device")
    try:
        return LinuxDevice(fd, ioctl)
    except OSError as error:
        if error.errno != errno.ENOTTY:  # it is a watchdog, and its timer runs
            os.write(fd, MAGIC_CLOSE)
        os.close(fd)
        raise WatchdogError(f"is not a watchdog: {error.strerror}") from error


class TestingDevice:
    """The driver `testing`: writes a line for each act to a file or FIFO, and resets nothing. See `Device`.

    The lines: `open`, `timeout N`, `keepalive`, `V`. A FIFO needs a reader first, and one that does not read makes acts fail.
    """

    __test__ = False  # no class of tests

    support = Support(identity="testing", can_set_timeout=True, can_disarm=True)

    def __init__(self, fd: int) -> None:
        """fd: open for writing; it belongs to this object."""
        self._fd = fd
        self._timeout_s = 60  # as a driver has one before it is asked
        self._write("open")

    def set_timeout(self, timeout_s: int) -> None:
        """See `Device`."""
        self._write(f"timeout {timeout_s}")
        self._timeout_s = timeout_s

    def timeout_s(self) -> int:
        """See `Device`."""
        return self._timeout_s

    def keepalive(self) -> None:
        """See `Device`."""
        self._write("keepalive")

    def close(self) -> None:
        """See `Device`."""
        try:
            self._write("V")
        finally:
            os.close(self._fd)

    def _write(self, line: str) -> None:
        _done(line, lambda: os.write(self._fd, f"{line}\n".encode()))


def open_testing(path: str) -> TestingDevice:
    """Open a file or FIFO that is there."""
    fd = _opened(path, os.O_APPEND)
    try:
        return TestingDevice(fd)
    except WatchdogError:
        os.close(fd)
        raise


def _opened(path: str, flags: int) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags)
    except OSError as error:
        raise WatchdogError(f"cannot be opened: {error.strerror}") from error


def _done(what: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except OSError as error:
        raise WatchdogError(f"{what}: {error.strerror}") from error


DRIVERS: Mapping[str, OpenBy] = {"default": open_linux, "testing": open_testing}


class DeviceDriver:
    """Carries out the requests, on one device at a time. Belongs to one thread, see the module."""

    def __init__(self, drivers: Mapping[str, OpenBy] = DRIVERS) -> None:
        """drivers: how to open a device, by the name of the driver."""
        self._drivers = drivers
        self._device: Device | None = None

    def drive(self, steps: Steps[T]) -> T:
        """Run a generator of these requests to its end; return what it returns."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = self.perform(request)
                except WatchdogError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            return cast(T, end.value)

    def perform(self, request: Request[Any]) -> object:
        """Carry out a request; return its answer or raise WatchdogError."""
        match request:
            case OpenDevice(path, driver):
                return self._open(path, driver)
            case ProbeDevice(path, driver):
                return driver in self._drivers and os.access(path, os.W_OK)
            case ReadTimeout():
                return self._opened().timeout_s()
            case SetTimeout(timeout_s):
                self._opened().set_timeout(timeout_s)
            case KeepAlive():
                self._opened().keepalive()
            case CloseDevice():
                device, self._device = self._opened(), None
                device.close()
            case _:
                raise TypeError(f"no request to a watchdog: {request!r}")
        return None

    def _open(self, path: str, driver: str) -> Support:
        assert self._device is None
        if driver not in self._drivers:
            raise WatchdogError(f"there is no driver {driver!r}")
        self._device = self._drivers[driver](path)
        return self._device.support

    def _opened(self) -> Device:
        if self._device is None:
            raise WatchdogError("is not open")
        return self._device
