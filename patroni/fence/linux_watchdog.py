"""The Linux watchdog: a machine whose agent does not renew its lock in time is reset (contract/ha_behaviour.md §2.31).

Promise: while it runs, the machine is reset `safety_margin` before the lease ends unless a renewal was proved, or Postgres is
held or dead as a whole. So it covers what the guard cannot: guard and agent both dead, or the whole kernel slow. Mechanism:
the device's timer, started anew by `feed` alone, which names the moment *before* the renewal was sent. A reset is the last
resort: the guard acts `GUARD_LEAD_S` earlier (safety_rules.md §3), see `Status.fence_within_s`. Not promised: anything with a
device that took a longer timeout than it was asked for (allowed in mode `automatic`, as the contract has it), nor with a
`safety_margin` below `LONGEST_ANSWER_S`: the timer starts when the store's answer is here, the lease when the request left.

Threads: the generators belong to one thread (see watchdog_device.py), one at a time, each driven to its end. `status` is one
reference to an immutable record, for any thread at any time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

from patroni.decision.lease import Instant, elapsed_s
from patroni.decision.request import Steps, ask
from patroni.fence.watchdog_device import (
    CloseDevice,
    KeepAlive,
    OpenDevice,
    ProbeDevice,
    ReadTimeout,
    SetTimeout,
    Support,
    WatchdogError,
)

logger = logging.getLogger(__name__)

GUARD_LEAD_S = 1.0  # how long before the watchdog the guard acts (safety_rules.md §3)
LEAST_TIMEOUT_S = 3  # below it the guard would have less than two renewals' time
LONGEST_ANSWER_S = 3.0  # for which the keeper waits: an answer that is older was held up in this machine


class Mode(Enum):
    """Whether a watchdog is used."""

    OFF = "off"
    AUTOMATIC = "automatic"  # if it can be
    REQUIRED = "required"  # a node without one does not lead


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogConfig:
    """Section `watchdog` (contract/configuration.md §3.8) and the timings that it has to fit."""

    mode: Mode = Mode.AUTOMATIC
    device: str = "/dev/watchdog"
    driver: str = "default"
    safety_margin_s: int | None = 5  # None: half of ttl
    ttl_s: float
    loop_wait_s: float

    @property
    def timeout_s(self) -> int:
        """Return the wanted timeout: ttl less the margin, or half of ttl."""
        ttl_s = int(self.ttl_s)
        return ttl_s // 2 if self.safety_margin_s is None else ttl_s - self.safety_margin_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What others may know of it."""

    is_running: bool = False  # the timer of an open device runs
    is_healthy: bool = True  # False: this node must not lead; REST says `watchdog_failed` (contract/rest_api.md §7)
    timeout_s: int | None = None  # in force; None: not running, or the device does not say
    fence_within_s: float | None = None  # after a proved renewal was sent the guard must have acted; None: not running
    renew_within_s: float | None = None  # the longest period between renewals that fits; None: not running


def timeout_bar(timeout_s: int, loop_wait_s: float) -> str | None:
    """Return why a timeout, wanted or in force, must not be used; None: it may be."""
    if timeout_s < loop_wait_s:
        return f"timeout {timeout_s} s is less than loop_wait {loop_wait_s:g} s"
    if timeout_s < LEAST_TIMEOUT_S:
        return f"timeout {timeout_s} s is less than {LEAST_TIMEOUT_S} s"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """Why Postgres may go on: a proved renewal, or a failsafe exchange in which all accepted."""

    sent: Instant  # taken BEFORE the request was sent
    ttl_s: float  # for which it was granted


def may_feed(config: WatchdogConfig, proved: Proved | None, now: Instant) -> bool:
    """Return whether the timer may be started anew on the strength of this (None: Postgres cannot write).

    Else the timer would outlive the lease: a frozen agent that goes on feeds nothing with what it had proved before.
    """
    margin_s = config.ttl_s - config.timeout_s
    return proved is None or elapsed_s(proved.sent, now) <= max(margin_s, LONGEST_ANSWER_S)


class LinuxWatchdog:
    """The watchdog of this agent; see the module for its threads. Each method is a generator of requests to a device."""

    def __init__(self, config: WatchdogConfig) -> None:
        self._config = config
        self._applied: WatchdogConfig | None = None  # what the open device was set to; None: it is not open
        self._support: Support | None = None  # of the open device
        self._asked_s: int | None = None  # the timeout that it was asked for
        self._timeout_s: int | None = None  # in force; None: it did not say
        self._is_given_up = False  # mode `automatic`: it failed, and is not tried again with this configuration
        self._failed_at: Instant | None = None  # mode `required`: when it failed last
        self._status = Status(is_healthy=config.mode is not Mode.REQUIRED)

    @property
    def status(self) -> Status:
        """Return what others may know; from any thread."""
        return self._status

    def activate(self, now: Instant) -> Steps[bool]:
        """Start it unless it runs; return whether this node may lead. Before a promotion, and on a primary without it.

        False only in mode `required`; then it is stopped again, and `is_healthy` is False for ttl, so that others can lead.
        """
        if self._support is None and self._config.mode is not Mode.OFF and not self._is_given_up:
            yield from self._start()
        elif self._support is not None and self._applied != self._config:
            yield from self._apply()
        may_lead = self._config.mode is not Mode.REQUIRED or self._is_good()
        self._failed_at = None if may_lead else now
        self._publish(is_healthy=may_lead)
        return may_lead

    def feed(self, proved: Proved | None, now: Instant) -> Steps[None]:
        """Start the timer anew while it runs: after each proved renewal, and each failsafe exchange that all accepted.

        proved None: Postgres is held or killed as a whole, and cannot write (safety_rules.md §3). A changed configuration is
        applied here, a longer ttl not before a lease of that length is proved.
        """
        if self._applied is None:
            return
        if not may_feed(self._applied, proved, now):
            logger.warning("Linux watchdog is not fed: the renewal is too old. device=%s", self._applied.device)
            return
        if self._applied != self._config and (proved is None or proved.ttl_s >= self._config.ttl_s):
            yield from self._apply()
        if self._support is not None:
            yield from self._keep_alive()

    def configure(self, config: WatchdogConfig) -> Steps[None]:
        """Use another configuration from the next `feed` or `activate` on; mode `off` acts at once."""
        if config == self._config:
            return
        self._config, self._is_given_up, self._failed_at = config, False, None
        if config.mode is Mode.OFF:
            yield from self.disable()
        self._publish(is_healthy=(yield from self._is_usable()))

    def disable(self) -> Steps[None]:
        """Stop it if it runs: only when Postgres is down or in recovery, its last client is gone, or the cluster is paused."""
        if self._support is None or self._applied is None:
            return
        device, can_disarm = self._applied.device, self._support.can_disarm
        if not can_disarm:
            yield from self._keep_alive()
        try:
            yield from ask(CloseDevice())
        except WatchdogError as error:
            can_disarm = False
            logger.warning("Linux watchdog %s: %s", device, error)
        after_s, self._support, self._applied = self._timeout_s, None, None
        self._publish()
        if can_disarm:
            logger.info("Linux watchdog stopped. device=%s", device)
        else:
            logger.warning(
                "Linux watchdog cannot be switched off, and may reset this machine. device=%s in_s=%s", device, after_s
            )

    def check(self, now: Instant) -> Steps[None]:
        """Look whether it could be used, once a loop_wait: others ask before they count on this node as a candidate."""
        if self._failed_at is not None and elapsed_s(self._failed_at, now) < self._config.ttl_s:
            return
        self._failed_at = None
        self._publish(is_healthy=(yield from self._is_usable()))

    def stop_left_over(self) -> Steps[None]:
        """Stop the timer that a killed agent left running: at the start, if the guard's page says so and nobody can write."""
        if self._support is not None:
            return
        try:
            self._opened((yield from ask(OpenDevice(self._config.device, self._config.driver))))
        except WatchdogError as error:
            logger.warning("Linux watchdog of the agent before: device=%s: %s", self._config.device, error)
            return
        yield from self.disable()

    # --- steps

    def _start(self) -> Steps[None]:
        bar = timeout_bar(self._config.timeout_s, self._config.loop_wait_s)
        if bar is not None:
            self._refuse(f"{bar}: raise ttl, or lower safety_margin or loop_wait")
            return
        try:
            support = yield from ask(OpenDevice(self._config.device, self._config.driver))
        except WatchdogError as error:
            self._refuse(str(error))
            return
        self._opened(support)
        yield from self._set_timeout("activated")

    def _apply(self) -> Steps[None]:
        """Bring the running device to the configuration; another device takes its place."""
        old, new = self._applied, self._config
        if old is None or (old.device, old.driver) != (new.device, new.driver):
            yield from self.disable()
            yield from self._start()
        elif (bar := timeout_bar(new.timeout_s, new.loop_wait_s)) is not None:
            self._applied = new
            yield from self._give_back(bar)
        else:
            yield from self._set_timeout("updated")
        self._publish(is_healthy=new.mode is not Mode.REQUIRED or self._is_good())

    def _set_timeout(self, what: str) -> Steps[None]:
        """Set the timeout and read what the device made of it; close it again where that does not fit."""
        config, support = self._config, self._support
        assert support is not None
        self._applied, self._asked_s = config, config.timeout_s
        bar: str | None
        try:
            if support.can_set_timeout:
                yield from ask(SetTimeout(config.timeout_s))
        except WatchdogError as error:  # the timeout that it has may do
            logger.warning("Linux watchdog %s: cannot be set to %s s: %s", config.device, config.timeout_s, error)
        try:
            self._timeout_s = yield from ask(ReadTimeout())
            bar = timeout_bar(self._timeout_s, config.loop_wait_s)
            if bar is None and not self._is_good() and config.mode is Mode.REQUIRED:
                bar = f"timeout {self._timeout_s} s is more than {config.timeout_s} s"
        except WatchdogError as error:
            self._timeout_s, bar = None, str(error)
        self._publish()
        if bar is not None:
            yield from self._give_back(bar)
            return
        facts = (config.device, support.identity, self._timeout_s, (self._timeout_s or 0) - config.loop_wait_s)
        logger.info("Linux watchdog %s. device=%s driver=%s timeout_s=%s slack_s=%g", what, *facts)
        if not self._is_good():
            logger.warning("Linux watchdog fires late: wanted_timeout_s=%s timeout_s=%s", config.timeout_s, self._timeout_s)

    def _give_back(self, bar: str) -> Steps[None]:
        """Close a device whose timing does not fit, if it can be closed: else it is fed on, as it would reset the machine."""
        self._refuse(bar)
        if self._support is not None and self._support.can_disarm:
            yield from self.disable()

    def _keep_alive(self) -> Steps[None]:
        try:
            yield from ask(KeepAlive())
        except WatchdogError as error:
            facts = (self._config.device, self._timeout_s, error)
            logger.error("Linux watchdog could not be fed: it may reset this machine. device=%s timeout_s=%s: %s", *facts)

    def _is_usable(self) -> Steps[bool]:
        """Return whether this node may lead, as far as can be seen without opening a device."""
        config = self._config
        if config.mode is not Mode.REQUIRED or (self._support is not None and self._applied == config):
            return config.mode is not Mode.REQUIRED or self._is_good()
        if timeout_bar(config.timeout_s, config.loop_wait_s) is not None:
            return False
        return (yield from ask(ProbeDevice(config.device, config.driver)))

    # --- state

    def _is_good(self) -> bool:
        """Return whether it runs, and resets the machine in time."""
        return self._support is not None and self._timeout_s is not None and self._timeout_s <= self._config.timeout_s

    def _opened(self, support: Support) -> None:
        self._support, self._applied = support, self._config
        self._asked_s, self._timeout_s = self._config.timeout_s, None
        self._publish()

    def _refuse(self, why: str) -> None:
        device = self._config.device
        if self._config.mode is Mode.REQUIRED:
            logger.error("Linux watchdog is required and not usable: this node does not lead. device=%s: %s", device, why)
        else:
            self._is_given_up = True
            logger.warning("Linux watchdog is not used. device=%s: %s", device, why)

    def _publish(self, *, is_healthy: bool | None = None) -> None:
        """Replace the status. is_healthy None: as it was."""
        healthy = self._status.is_healthy if is_healthy is None else is_healthy
        if self._support is None or self._asked_s is None:
            self._status = Status(is_healthy=healthy)
            return
        fence_within_s = min(self._asked_s, self._timeout_s or self._asked_s) - GUARD_LEAD_S
        self._status = Status(
            is_running=True,
            is_healthy=healthy,
            timeout_s=self._timeout_s,
            fence_within_s=fence_within_s,
            renew_within_s=fence_within_s / 2,
        )
