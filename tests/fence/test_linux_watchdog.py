"""When the machine may be reset, and when it must not: modes, timeouts, feeding (contract/ha_behaviour.md §2.31)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from patroni.decision.lease import Instant
from patroni.decision.request import Steps
from patroni.fence.linux_watchdog import LinuxWatchdog, Mode, Proved, Status, WatchdogConfig, may_feed, timeout_bar
from tests.fence.fake_watchdog import FakeWatchdog

T = TypeVar("T")
USUAL = WatchdogConfig(ttl_s=30.0, loop_wait_s=10.0)
REQUIRED = replace(USUAL, mode=Mode.REQUIRED)
RUNNING = Status(is_running=True, timeout_s=25, fence_within_s=24.0, renew_within_s=12.0)
STOPPED = Status()
UNUSABLE = Status(is_healthy=False)


def at(now_s: float) -> Instant:
    """Return a reading of the clocks."""
    return Instant(boot_s=now_s, raw_s=now_s)


@dataclass
class Node:
    """A watchdog and the machine that it may reset."""

    config: WatchdogConfig = USUAL
    machine: FakeWatchdog = field(default_factory=FakeWatchdog)

    def __post_init__(self) -> None:
        self.driver = self.machine.driver()
        self.watchdog = LinuxWatchdog(self.config)

    @property
    def now(self) -> Instant:
        return at(self.machine.now_s)

    @property
    def status(self) -> Status:
        return self.watchdog.status

    def do(self, steps: Steps[T]) -> T:
        return self.driver.drive(steps)

    def activate(self) -> bool:
        return self.do(self.watchdog.activate(self.now))

    def feed(self, sent_s: float, ttl_s: float = 30.0) -> None:
        self.do(self.watchdog.feed(Proved(sent=at(sent_s), ttl_s=ttl_s), self.now))

    def configure(self, config: WatchdogConfig) -> None:
        self.do(self.watchdog.configure(config))

    def disable(self) -> None:
        self.do(self.watchdog.disable())

    def check(self) -> bool:
        self.do(self.watchdog.check(self.now))
        return self.status.is_healthy


def running(config: WatchdogConfig = USUAL, machine: FakeWatchdog | None = None) -> Node:
    """Return a node whose watchdog was activated, its acts so far forgotten."""
    node = Node(config, FakeWatchdog() if machine is None else machine)
    node.activate()
    assert node.status.is_running
    node.machine.acts.clear()
    return node


# --- timeouts


@pytest.mark.parametrize(
    ("ttl_s", "margin_s", "then"),
    [(30.0, 5, 25), (30.0, 0, 30), (30.0, None, 15), (31.0, None, 15), (5.0, 5, 0), (20.0, 25, -5)],
)
def test_wanted_timeout(ttl_s: float, margin_s: int | None, then: int) -> None:
    assert WatchdogConfig(ttl_s=ttl_s, loop_wait_s=10.0, safety_margin_s=margin_s).timeout_s == then


@pytest.mark.parametrize(
    ("timeout_s", "loop_wait_s", "then"),
    [
        pytest.param(10, 10.0, None, id="slack 0"),
        pytest.param(9, 10.0, "timeout 9 s is less than loop_wait 10 s", id="no slack"),
        pytest.param(3, 1.0, None, id="the least timeout"),
        pytest.param(2, 1.0, "timeout 2 s is less than 3 s", id="below it"),
    ],
)
def test_timeout_bar(timeout_s: int, loop_wait_s: float, then: str | None) -> None:
    assert timeout_bar(timeout_s, loop_wait_s) == then


@pytest.mark.parametrize(
    ("margin_s", "age_s", "then"),
    [
        pytest.param(5, 5.0, True, id="as old as the margin"),
        pytest.param(5, 5.1, False, id="older: the timer would outlive the lease"),
        pytest.param(0, 3.0, True, id="a slow store resets no machine"),
        pytest.param(0, 3.1, False, id="what was held up in this machine feeds nothing"),
        pytest.param(None, 15.0, True, id="half of ttl"),
        pytest.param(None, 15.1, False, id="older than half of ttl"),
        pytest.param(5, None, True, id="Postgres is held or dead"),
    ],
)
def test_may_feed(margin_s: int | None, age_s: float | None, then: bool) -> None:
    proved = None if age_s is None else Proved(sent=at(100.0), ttl_s=30.0)
    assert may_feed(replace(USUAL, safety_margin_s=margin_s), proved, at(100.0 + (age_s or 0))) is then


def test_the_faster_clock_counts() -> None:
    proved = Proved(sent=at(0.0), ttl_s=30.0)
    assert not may_feed(USUAL, proved, Instant(boot_s=6.0, raw_s=0.0))
    assert not may_feed(USUAL, proved, Instant(boot_s=0.0, raw_s=6.0))


# --- activate


@pytest.mark.parametrize("mode", [Mode.AUTOMATIC, Mode.REQUIRED])
def test_activate(mode: Mode) -> None:
    node = Node(replace(USUAL, mode=mode))
    assert node.activate()
    assert (node.machine.acts, node.status) == (["open", "timeout 25"], RUNNING)
    assert node.activate()
    assert node.machine.acts == ["open", "timeout 25"]


def test_off_touches_nothing() -> None:
    node = Node(replace(USUAL, mode=Mode.OFF))
    assert node.activate()
    node.feed(0.0)
    node.disable()
    assert node.check()
    assert (node.machine.acts, node.status) == ([], STOPPED)


REFUSALS = [
    pytest.param({}, {"ttl_s": 20.0, "safety_margin_s": 11}, [], id="no slack: it is not opened"),
    pytest.param({}, {"device": "/dev/missing"}, [], id="no device"),
    pytest.param({}, {"driver": "other"}, [], id="no such driver"),
    pytest.param({"is_open": True}, {}, [], id="held by another process"),
    pytest.param({"longest_s": 9}, {}, ["open", "timeout 25", "V"], id="the device takes less than loop_wait"),
    pytest.param({"refused": {"read"}}, {}, ["open", "timeout 25", "V"], id="it does not say its timeout"),
]


@pytest.mark.parametrize(("machine", "change", "acts"), REFUSALS)
def test_a_watchdog_that_cannot_be_used(machine: dict[str, Any], change: dict[str, Any], acts: list[str]) -> None:
    for mode, may_lead in ((Mode.AUTOMATIC, True), (Mode.REQUIRED, False)):
        node = Node(replace(USUAL, mode=mode, **change), FakeWatchdog(**machine))
        assert node.activate() is may_lead
        assert (node.machine.acts, node.status) == (acts, Status(is_healthy=may_lead))
        assert node.machine.ends_s is None


def test_a_longer_timeout_is_used_unless_required() -> None:
    node = Node(USUAL, FakeWatchdog(shortest_s=60))
    assert node.activate()
    # The guard does not wait for it: it acts where a watchdog as configured would have it act.
    assert node.status == replace(RUNNING, timeout_s=60)
    node = Node(REQUIRED, FakeWatchdog(shortest_s=60))
    assert not node.activate()
    assert (node.machine.acts, node.status) == (["open", "timeout 25", "V"], UNUSABLE)


def test_a_shorter_timeout_moves_the_guard_and_the_renewals() -> None:
    node = Node(REQUIRED, FakeWatchdog(longest_s=16))
    assert node.activate()
    assert node.status == Status(is_running=True, timeout_s=16, fence_within_s=15.0, renew_within_s=7.5)


@pytest.mark.parametrize("machine", [{"can_set_timeout": False}, {"refused": {"timeout"}}], ids=["cannot", "refuses"])
def test_a_timeout_that_cannot_be_set_may_do(machine: dict[str, Any]) -> None:
    node = Node(REQUIRED, FakeWatchdog(timeout=12, **machine))
    assert node.activate()
    assert (node.machine.acts, node.status.timeout_s, node.status.fence_within_s) == (["open"], 12, 11.0)


def test_one_that_does_not_fit_and_cannot_be_closed_is_fed() -> None:
    node = Node(USUAL, FakeWatchdog(longest_s=9, can_disarm=False))
    assert node.activate()
    assert (node.status.is_running, node.status.fence_within_s) == (True, 8.0)
    node.machine.now_s = 8.0
    node.feed(7.0)
    node.machine.now_s = 16.0
    assert not node.machine.is_reset


def test_automatic_does_not_try_again_until_the_configuration_changes() -> None:
    node = Node(USUAL, FakeWatchdog(refused={"open"}))
    assert node.activate()
    node.machine.refused.clear()
    assert node.activate()
    assert node.machine.acts == []
    node.configure(replace(USUAL, loop_wait_s=9.0))
    assert node.activate()
    assert node.status.is_running


def test_required_tries_each_time() -> None:
    node = Node(REQUIRED, FakeWatchdog(refused={"open"}))
    assert not node.activate()
    node.machine.refused.clear()
    assert node.activate()
    assert node.status == RUNNING


# --- is it usable: `watchdog_failed`


@pytest.mark.parametrize(
    ("config", "then"),
    [
        pytest.param(USUAL, True, id="automatic"),
        pytest.param(replace(USUAL, device="/dev/missing"), True, id="automatic without one"),
        pytest.param(REQUIRED, True, id="required"),
        pytest.param(replace(REQUIRED, safety_margin_s=21), False, id="required without slack"),
        pytest.param(replace(REQUIRED, device="/dev/missing"), False, id="required without a device"),
    ],
)
def test_check(config: WatchdogConfig, then: bool) -> None:
    node = Node(config)
    assert node.status.is_healthy is (config.mode is not Mode.REQUIRED)
    assert Probing(node, is_there="missing" not in config.device).check() is then
    assert node.machine.acts == []


@dataclass
class Probing:
    """Answers the probe, which the fake's driver takes from the file system."""

    node: Node
    is_there: bool

    def check(self) -> bool:
        self.do(self.node.watchdog.check(self.node.now))
        return self.node.status.is_healthy

    def do(self, steps: Steps[None]) -> None:
        for _ in steps:
            with pytest.raises(StopIteration):
                steps.send(self.is_there)


def test_a_node_that_failed_stands_back_for_ttl() -> None:
    node = Node(REQUIRED, FakeWatchdog(refused={"open"}))
    assert not node.activate()
    node.machine.now_s = 29.9
    assert not Probing(node, is_there=True).check()
    node.machine.now_s = 30.0
    assert Probing(node, is_there=True).check()


def test_a_running_one_is_healthy() -> None:
    assert running(REQUIRED).check()


# --- feed


def test_a_fed_machine_is_not_reset_and_one_that_is_not_fed_is() -> None:
    node = running()
    for now_s in range(10, 101, 10):
        node.machine.now_s = now_s + 0.1
        assert not node.machine.is_reset
        node.feed(now_s)
    node.machine.now_s = 125.0
    assert not node.machine.is_reset
    node.machine.now_s = 125.1  # before 130, when the lease ends
    assert node.machine.is_reset


def test_what_was_proved_before_a_freeze_feeds_nothing() -> None:
    node = running()
    node.machine.now_s = 20.0
    node.feed(10.0)
    assert node.machine.acts == []


def test_a_held_postgres_feeds() -> None:
    node = running()
    node.machine.now_s = 24.5
    node.do(node.watchdog.feed(None, node.now))
    assert node.machine.acts == ["keepalive"]


@pytest.mark.parametrize("sent_s", [0.0, -100.0])
def test_nothing_is_fed_that_does_not_run(sent_s: float) -> None:
    node = Node()
    node.feed(sent_s)
    assert node.machine.acts == []


def test_a_failing_keepalive_is_an_error_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    node = running(machine=FakeWatchdog(refused={"keepalive"}))
    node.feed(0.0)
    assert [record.levelno for record in caplog.records if "could not be fed" in record.message] == [logging.ERROR]
    node.machine.refused.clear()
    node.feed(0.0)
    assert node.machine.acts == ["keepalive"]


# --- another configuration


@pytest.mark.parametrize(
    ("config", "acts", "then"),
    [
        pytest.param(replace(USUAL, ttl_s=20.0), ["timeout 15", "keepalive"], 15, id="ttl"),
        pytest.param(replace(USUAL, safety_margin_s=None), ["timeout 15", "keepalive"], 15, id="margin"),
        pytest.param(replace(USUAL, loop_wait_s=5.0), ["timeout 25", "keepalive"], 25, id="loop_wait"),
        pytest.param(REQUIRED, ["timeout 25", "keepalive"], 25, id="mode"),
        pytest.param(replace(USUAL, device="/dev/w1"), ["V", "open", "timeout 25", "keepalive"], 25, id="device"),
        pytest.param(replace(USUAL, loop_wait_s=26.0), ["V"], None, id="no slack any more"),
    ],
)
def test_a_change_is_applied_by_the_next_feed(config: WatchdogConfig, acts: list[str], then: int | None) -> None:
    node = running()
    node.configure(config)
    assert node.machine.acts == []
    node.feed(0.0)
    assert (node.machine.acts, node.status.timeout_s) == (acts, then)
    node.machine.acts.clear()
    node.feed(0.0)
    assert node.machine.acts == ([] if then is None else ["keepalive"])


def test_a_longer_ttl_waits_for_its_lease() -> None:
    node = running()
    node.configure(replace(USUAL, ttl_s=60.0))
    node.feed(0.0, ttl_s=30.0)
    assert node.machine.acts == ["keepalive"]
    node.feed(0.0, ttl_s=60.0)
    assert node.machine.acts == ["keepalive", "timeout 55", "keepalive"]


def test_off_acts_at_once() -> None:
    node = running()
    node.configure(replace(USUAL, mode=Mode.OFF))
    assert (node.machine.acts, node.machine.ends_s, node.status) == (["V"], None, STOPPED)


def test_the_same_configuration_changes_nothing() -> None:
    node = running()
    node.configure(replace(USUAL))
    node.feed(0.0)
    assert node.machine.acts == ["keepalive"]


def test_required_is_unhealthy_where_the_change_does_not_fit() -> None:
    node = running(REQUIRED)
    node.configure(replace(REQUIRED, loop_wait_s=26.0))
    assert (node.status.is_running, node.status.is_healthy) == (True, False)
    node.feed(0.0)
    assert node.status == UNUSABLE
    assert not node.activate()


def test_a_changed_configuration_is_applied_by_activate_too() -> None:
    node = running()
    node.configure(replace(USUAL, ttl_s=20.0))
    assert node.activate()
    assert (node.machine.acts, node.status.timeout_s) == (["timeout 15"], 15)


def test_one_that_cannot_be_closed_keeps_its_timer_in_sight() -> None:
    node = running(machine=FakeWatchdog(can_disarm=False))
    node.configure(replace(USUAL, ttl_s=7.0))
    node.feed(0.0)
    node.feed(0.0)
    assert node.machine.acts == ["keepalive", "keepalive"]
    assert node.status == RUNNING


# --- disable


def test_disable() -> None:
    node = running()
    node.disable()
    node.disable()
    assert (node.machine.acts, node.machine.ends_s, node.status) == (["V"], None, STOPPED)


LAST: list[tuple[Callable[[], Node], list[str]]] = [
    (lambda: running(machine=FakeWatchdog(can_disarm=False)), ["keepalive", "V"]),
    (lambda: running(machine=FakeWatchdog(refused={"V"})), []),
    (lambda: running(machine=FakeWatchdog(can_disarm=False, refused={"keepalive"})), ["V"]),
]


@pytest.mark.parametrize(("make", "acts"), LAST, ids=["cannot", "refused", "not even fed"])
def test_one_that_cannot_be_switched_off_is_said(
    make: Callable[[], Node], acts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    node = make()
    node.disable()
    assert (node.machine.acts, node.status) == (acts, STOPPED)
    (line,) = [record.message for record in caplog.records if "cannot be switched off" in record.message]
    assert line.endswith("device=/dev/watchdog in_s=25")


def test_what_a_killed_agent_left_is_stopped() -> None:
    killed = running()
    killed.machine.crash()
    node = Node(REQUIRED, killed.machine)
    node.do(node.watchdog.stop_left_over())
    assert (node.machine.acts, node.machine.ends_s, node.status.is_running) == (["open", "V"], None, False)


def test_what_a_killed_agent_left_and_cannot_be_opened_is_said(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(USUAL, FakeWatchdog(is_open=True))
    node.do(node.watchdog.stop_left_over())
    assert "of the agent before" in caplog.text
    assert node.activate()


def test_what_runs_is_not_left_over() -> None:
    node = running()
    node.do(node.watchdog.stop_left_over())
    assert node.machine.acts == []
    assert node.status == RUNNING


# --- with renewals, a guard and a killed agent


@pytest.mark.parametrize("seed", range(50))
def test_the_guard_comes_first_and_the_reset_before_the_end_of_the_lease(seed: int) -> None:
    chance = random.Random(seed)
    margin_s = chance.choice([3, 5, 7, None])
    config = WatchdogConfig(ttl_s=chance.choice([12.0, 20.0, 30.0, 60.0]), loop_wait_s=1.0, safety_margin_s=margin_s)
    node = running(config, FakeWatchdog(longest_s=chance.choice([8, 25, 1000])))
    machine, fence_within_s, period_s = node.machine, node.status.fence_within_s, node.status.renew_within_s
    assert fence_within_s is not None and period_s is not None
    proved_s = sent_s = 0.0
    for _ in range(200):
        sent_s = max(sent_s + chance.uniform(0.5, 1.0) * period_s, machine.now_s)
        answered_s = sent_s + chance.choice([0.01, 0.3, 2.9])
        held_s = proved_s + fence_within_s  # the guard acts, and the agent sees it within a second
        while held_s < answered_s:
            machine.now_s = held_s + chance.uniform(0.0, 0.9)
            assert not machine.is_reset
            node.do(node.watchdog.feed(None, node.now))
            held_s = machine.now_s + 1.0
        machine.now_s = max(machine.now_s, answered_s)
        assert not machine.is_reset
        proved_s = sent_s
        node.feed(proved_s, config.ttl_s)
        machine.crash()  # if it were killed now
        assert machine.ends_s is not None and machine.ends_s <= proved_s + config.ttl_s
