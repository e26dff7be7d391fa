"""One suite for every device: the kernel's (a terminal with modelled ioctls), `testing` on file and FIFO, the fake."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from patroni.decision.request import Request
from patroni.fence import watchdog_device as wd
from patroni.fence.watchdog_device import Device, DeviceDriver, WatchdogError, open_linux, open_testing
from tests.fence.fake_watchdog import FakeWatchdog
from tests.support.waiting import wait_until


@dataclass
class Bench:
    """A device to be tested."""

    path: str
    open: Callable[[str], Device]
    acts: Callable[[], list[str]]  # what reached it since it was opened


@dataclass
class Terminal:
    """A character device of which the test sees what is written; the ioctls of a watchdog are answered as its kernel would."""

    options: int = wd.SETTIMEOUT | wd.MAGICCLOSE | wd.KEEPALIVEPING
    fault: int | None = None  # errno of all ioctls
    timeout_s: int = 60
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)

    def ioctl(self, fd: int, operation: int, argument: bytearray) -> int:
        assert os.ttyname(fd) == self.path
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))
        if operation == wd.GET_SUPPORT:
            argument[:] = struct.pack("=II32s", self.options, 1, b"Software Watchdog")
        elif operation == wd.SET_TIMEOUT:
            (self.timeout_s,) = struct.unpack("=i", argument)
            self.lines.append(f"timeout {self.timeout_s}")
        elif operation == wd.GET_TIMEOUT:
            argument[:] = struct.pack("=i", self.timeout_s)
        elif operation == wd.KEEP_ALIVE:
            self.lines.append("keepalive")
        return 0

    def read(self) -> bytes:
        """Return what was written to it and not read yet."""
        try:
            return os.read(self.master, 4096)
        except BlockingIOError:
            return b""

    def acts(self) -> list[str]:
        written = self.read()
        self.lines += ["V" if byte == ord("V") else "keepalive" for byte in written]
        return self.lines


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def on_terminal(terminal: Terminal) -> Bench:
    return Bench(terminal.path, lambda path: open_linux(path, terminal.ioctl), terminal.acts)


@pytest.fixture(params=["linux", "linux without its keepalive", "testing on a file", "testing on a FIFO", "fake"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, terminal: Terminal) -> Iterator[Bench]:
    path = tmp_path / "watchdog"
    match request.param:
        case "linux":
            yield on_terminal(terminal)
        case "linux without its keepalive":
            terminal.options &= ~wd.KEEPALIVEPING
            yield on_terminal(terminal)
        case "testing on a file":
            path.touch()
            yield Bench(str(path), open_testing, lambda: path.read_text().splitlines()[1:])
        case "testing on a FIFO":
            os.mkfifo(path)
            with Fifo(path) as fifo:
                yield Bench(str(path), open_testing, lambda: fifo.lines()[1:])
        case _:
            fake = FakeWatchdog()
            yield Bench(str(path), fake.open, lambda: fake.acts[1:])


class Fifo:
    """The reader of a FIFO."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def lines(self) -> list[str]:
        """Return all that was written so far."""
        try:
            self._seen += os.read(self._fd, 65536)
        except BlockingIOError:
            return self._seen.decode().splitlines()
        return self._seen.decode().splitlines()


def test_each_act_reaches_the_device_in_order(bench: Bench) -> None:
    device = bench.open(bench.path)
    device.set_timeout(25)
    device.keepalive()
    device.close()
    wanted = ["timeout 25", "keepalive", "V"]
    assert wait_until(lambda: bench.acts() == wanted, 5.0, "the acts", bench.acts)


def test_the_timeout_that_was_set_is_read(bench: Bench) -> None:
    device = bench.open(bench.path)
    assert device.timeout_s() == 60
    device.set_timeout(25)
    assert device.timeout_s() == 25
    device.close()


def test_it_says_what_it_can(bench: Bench) -> None:
    device = bench.open(bench.path)
    assert device.support.identity
    assert device.support.can_set_timeout
    assert device.support.can_disarm
    device.close()


def test_it_can_be_opened_again(bench: Bench) -> None:
    bench.open(bench.path).close()
    bench.open(bench.path).close()


def test_no_child_inherits_it(bench: Bench) -> None:
    device = bench.open(bench.path)
    held = [int(fd) for fd in os.listdir("/proc/self/fd") if _target(fd) == bench.path]
    assert [fd for fd in held if os.get_inheritable(fd)] == []
    device.close()


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the listing itself
        return ""


def test_what_is_not_there_cannot_be_opened(bench: Bench) -> None:
    with pytest.raises(WatchdogError, match="cannot be opened"):
        bench.open(f"{bench.path}-missing")


# --- the kernel's


@pytest.mark.parametrize(
    ("machine", "support", "keepalive", "set_timeout", "timeout"),
    [
        ("x86_64", 0x80285700, 0x80045705, 0xC0045706, 0x80045707),
        ("aarch64", 0x80285700, 0x80045705, 0xC0045706, 0x80045707),
        ("ppc64le", 0x40285700, 0x40045705, 0xC0045706, 0x40045707),
    ],
)
def test_codes_of_the_ioctls(machine: str, support: int, keepalive: int, set_timeout: int, timeout: int) -> None:
    found = [wd.operation(0, 40, machine), wd.operation(5, 4, machine), wd.operation(6, 4, machine, is_written=True)]
    assert [*found, wd.operation(7, 4, machine)] == [support, keepalive, set_timeout, timeout]


@pytest.mark.parametrize(
    ("options", "can_set_timeout", "can_disarm"),
    [(0, False, False), (wd.SETTIMEOUT, True, False), (wd.MAGICCLOSE, False, True)],
)
def test_options(options: int, can_set_timeout: bool, can_disarm: bool, terminal: Terminal) -> None:
    terminal.options = options
    device = open_linux(terminal.path, terminal.ioctl)
    assert device.support == wd.Support(identity="Software Watchdog", can_set_timeout=can_set_timeout, can_disarm=can_disarm)
    device.close()


def test_somebodys_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(WatchdogError, match="is not a device"):
        open_linux(str(path))
    assert path.read_text() == "data"


def test_a_terminal_is_no_watchdog_and_gets_no_byte(terminal: Terminal) -> None:
    with pytest.raises(WatchdogError, match="is not a watchdog: Inappropriate ioctl"):
        open_linux(terminal.path, fcntl.ioctl)
    os.write(terminal.slave, b"!")
    assert wait_until(terminal.read, 5.0, "what was written") == b"!"


def test_a_watchdog_that_does_not_say_what_it_can_is_stopped_again(terminal: Terminal) -> None:
    terminal.fault = errno.EIO
    with pytest.raises(WatchdogError, match="is not a watchdog: Input/output error"):
        open_linux(terminal.path, terminal.ioctl)
    assert wait_until(terminal.read, 5.0, "the magic close") == b"V"


def test_what_the_kernel_refuses_is_one_line(terminal: Terminal) -> None:
    device = open_linux(terminal.path, terminal.ioctl)
    terminal.fault = errno.EINVAL
    for act in (lambda: device.set_timeout(25), device.timeout_s, device.keepalive):
        with pytest.raises(WatchdogError, match="Invalid argument"):
            act()
    device.close()


# --- the driver `testing`


def test_a_fifo_without_a_reader_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(WatchdogError, match="cannot be opened: No such device or address"):
        open_testing(str(path))


def test_a_full_fifo_never_blocks(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with Fifo(path):
        device = open_testing(str(path))
        fill(path)
        with pytest.raises(WatchdogError, match="keepalive: Resource temporarily unavailable"):
            device.keepalive()
        with pytest.raises(WatchdogError, match="V: Resource temporarily unavailable"):
            device.close()


def fill(path: Path) -> None:
    """Write into a FIFO until nothing more goes in."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with suppress(BlockingIOError):
            while os.write(fd, b"x" * size):
                pass
    os.close(fd)


def test_a_killed_process_writes_no_magic_close(tmp_path: Path) -> None:
    path = tmp_path / "watchdog"
    path.touch()
    code = (
        "import os, signal, sys; from patroni.fence.watchdog_device import open_testing;"
        "device = open_testing(sys.argv[1]); device.keepalive(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=30, check=False).returncode == -9
    assert path.read_text() == "open\nkeepalive\n"


# --- the driver of requests


@pytest.mark.parametrize(
    ("mode", "driver", "then"),
    [
        pytest.param(0o200, "testing", True, id="writable"),
        pytest.param(None, "testing", False, id="not there"),
        pytest.param(0o200, "other", False, id="no such driver"),
    ],
)
def test_probe(mode: int | None, driver: str, then: bool, tmp_path: Path) -> None:
    path = tmp_path / "watchdog"
    if mode is not None:
        path.touch(mode)
    assert DeviceDriver().perform(wd.ProbeDevice(str(path), driver)) is then
    assert not path.exists() or path.read_text() == ""


@pytest.mark.parametrize("asked", [wd.SetTimeout(5), wd.ReadTimeout(), wd.KeepAlive(), wd.CloseDevice()])
def test_nothing_can_be_asked_of_a_closed_device(asked: Request[Any]) -> None:
    driver = FakeWatchdog().driver()
    driver.perform(wd.OpenDevice("/dev/watchdog", "default"))
    driver.perform(wd.CloseDevice())
    with pytest.raises(WatchdogError, match="is not open"):
        driver.perform(asked)


def test_an_unknown_driver_opens_nothing() -> None:
    with pytest.raises(WatchdogError, match="there is no driver 'other'"):
        DeviceDriver().perform(wd.OpenDevice("/dev/watchdog", "other"))
