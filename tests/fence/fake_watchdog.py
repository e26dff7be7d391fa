"""A watchdog as a machine has one, with its timer and its limits; passes the suite of test_watchdog_device.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from patroni.fence.watchdog_device import DeviceDriver, Support, WatchdogError


@dataclass
class FakeWatchdog:
    """A machine with one device; `now_s` is its clock, moved by the test."""

    longest_s: int = 1000  # a longer timeout is cut to it
    shortest_s: int = 1  # a shorter one is raised to it
    can_set_timeout: bool = True
    can_disarm: bool = True
    refused: set[str] = field(default_factory=set)  # acts that fail: open, timeout, read, keepalive, V
    acts: list[str] = field(default_factory=list)
    now_s: float = 0.0
    timeout: int = 60
    ends_s: float | None = None  # when the machine is reset; None: the timer is stopped
    is_open: bool = False

    @property
    def support(self) -> Support:
        """See `Device`."""
        return Support(identity="fake", can_set_timeout=self.can_set_timeout, can_disarm=self.can_disarm)

    @property
    def is_reset(self) -> bool:
        """Whether the machine was reset."""
        return self.ends_s is not None and self.now_s >= self.ends_s

    def driver(self) -> DeviceDriver:
        """Return what carries out requests on it."""
        return DeviceDriver({"default": self.open})

    def open(self, path: str) -> FakeWatchdog:
        """Open the device; its timer runs."""
        if self.is_open or "missing" in path:
            raise WatchdogError("cannot be opened: Device or resource busy")
        self._do("open")
        self.is_open = True
        self._restart()
        return self

    def set_timeout(self, timeout_s: int) -> None:
        """See `Device`."""
        self._do("timeout", f"timeout {timeout_s}")
        self.timeout = min(max(timeout_s, self.shortest_s), self.longest_s)
        self._restart()

    def timeout_s(self) -> int:
        """See `Device`."""
        if "read" in self.refused:
            raise WatchdogError("timeout: Operation not supported")
        return self.timeout

    def keepalive(self) -> None:
        """See `Device`."""
        self._do("keepalive")
        self._restart()

    def close(self) -> None:
        """See `Device`."""
        self.is_open = False
        self._do("V")
        if self.can_disarm:
            self.ends_s = None

    def crash(self) -> None:
        """Let the agent be killed: the kernel closes the device without V."""
        self.is_open = False

    def _restart(self) -> None:
        self.ends_s = self.now_s + self.timeout

    def _do(self, act: str, line: str = "") -> None:
        if act in self.refused:
            raise WatchdogError(f"{act}: Input/output error")
        self.acts.append(line or act)
