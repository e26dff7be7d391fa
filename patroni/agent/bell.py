"""A wait that any thread can end, and that counts suspend.

`select`, queues and conditions count CLOCK_MONOTONIC: after a suspend they sleep the rest. A lease does not wait for that
(safety_rules.md §3). So a timer of CLOCK_BOOTTIME ends the wait, too; the kernel fires it at the resume.
"""

from __future__ import annotations

import os
import select
import sys
import time

if sys.version_info >= (3, 13):

    def _boot_timer() -> int:
        return os.timerfd_create(time.CLOCK_BOOTTIME, flags=os.TFD_CLOEXEC | os.TFD_NONBLOCK)

    def _set(timer: int, seconds: float) -> None:
        os.timerfd_settime(timer, initial=max(seconds, 1e-9))

else:
    import ctypes
    import errno

    _LIBC = ctypes.CDLL(None, use_errno=True)
    _FLAGS = os.O_CLOEXEC | os.O_NONBLOCK  # the values of TFD_CLOEXEC and TFD_NONBLOCK

    class _Setting(ctypes.Structure):
        _fields_ = (
            ("interval_s", ctypes.c_long),
            ("interval_ns", ctypes.c_long),
            ("value_s", ctypes.c_long),
            ("value_ns", ctypes.c_long),
        )

    def _boot_timer() -> int:
        return _checked(_LIBC.timerfd_create(time.CLOCK_BOOTTIME, _FLAGS))

    def _set(timer: int, seconds: float) -> None:
        whole, rest = divmod(max(int(seconds * 1e9), 1), 1_000_000_000)
        _checked(_LIBC.timerfd_settime(timer, 0, ctypes.byref(_Setting(0, 0, whole, rest)), None))

    def _checked(answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno() or errno.EINVAL
            raise OSError(number, os.strerror(number))
        return answer


class Bell:
    """One thread waits, any may ring; a ring before the wait ends it at once. Rings that nobody waited for count once."""

    _rung = _timer = -1  # not open

    def __init__(self, slack_s: float = 0.0) -> None:
        """Raise OSError where the kernel has no such timer, or no descriptor is left.

        slack_s: for so much longer than the timer the poll may take, which does not count suspend.
        """
        self._slack_s = slack_s
        self._rung = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._timer = _boot_timer()
        self._poller = select.poll()
        self._poller.register(self._rung, select.POLLIN)
        self._poller.register(self._timer, select.POLLIN)

    def __del__(self) -> None:
        for fd in (self._rung, self._timer):
            if fd >= 0:
                os.close(fd)

    def ring(self) -> None:
        """End the wait under way, or the next one."""
        os.eventfd_write(self._rung, 1)

    def wait(self, seconds: float) -> bool:
        """Wait for a ring, at most so long, suspend included; return whether it rang."""
        if seconds > 0:
            _set(self._timer, seconds)
            self._poller.poll((seconds + self._slack_s) * 1000)
        try:
            os.eventfd_read(self._rung)
        except BlockingIOError:
            return False
        return True
