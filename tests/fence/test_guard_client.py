"""The agent's side of the guard: what overtakes what, and what never waits. Real guards without a server."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patroni.decision.lease import Proof, margin_s
from patroni.decision.view import GuardState
from patroni.fence import guard_launch, guard_status
from patroni.fence import page as p
from patroni.fence.client import HoldingFence
from patroni.fence.guard_client import GuardFence
from patroni.fence.guard_launch import GuardUnavailable
from tests.fence.conftest import end_guard, is_guard
from tests.fence.server import LIMIT_S, kill, now, proof, state_of
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
LONG_S = 60.0


@pytest.fixture
def fence(tmp_path: Path) -> Iterator[GuardFence]:
    made = GuardFence(guard_launch.place(str(tmp_path / "data"), frozenset({"postgres"}), os.geteuid()), 10.0)
    made.launch()
    yield made
    end_guard(made)


@contextmanager
def frozen(fence: GuardFence) -> Iterator[None]:
    """Keep the guard from running."""
    pid = fence.pid
    assert pid is not None
    kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", LIMIT_S, "a frozen guard")
    yield
    kill(pid, signal.SIGCONT)


def settled(fence: GuardFence) -> GuardState:
    """Return the state after the guard has done what it was told."""
    page = fence._page()
    wait_until(lambda: page[p.ORDER] == page[p.DONE], LIMIT_S, "the guard's obedience")
    return fence.state()


def later(first: Proof, seconds: float, incarnation: str | None = None) -> Proof:
    """Return a proof that was sent so much later."""
    sent = dataclasses.replace(first.sent, boot_s=first.sent.boot_s + seconds, raw_s=first.sent.raw_s + seconds)
    lock = proof(1.0, incarnation).incarnation if incarnation else first.incarnation
    return dataclasses.replace(first, sent=sent, incarnation=lock)


def deadline_s(fence: GuardFence) -> float:
    return fence._page()[p.DEADLINE_BOOT_NS] / 1e9


def test_it_is_a_fence(fence: GuardFence) -> None:
    holding: HoldingFence = fence
    assert holding.pid is not None


def test_arming_is_acknowledged_and_disarming_takes_it_back(fence: GuardFence) -> None:
    assert fence.state() is GuardState.IDLE
    assert fence.arm(proof(LONG_S))
    assert fence.state() is GuardState.ARMED
    fence.disarm()
    assert settled(fence) is GuardState.IDLE


def test_before_the_launch_there_is_no_guard(tmp_path: Path) -> None:
    unlaunched = GuardFence(guard_launch.place(str(tmp_path), frozenset({"postgres"}), os.geteuid()), 10.0)
    assert unlaunched.state() is GuardState.ABSENT
    assert not unlaunched.arm(proof(LONG_S))
    assert not unlaunched.thaw(proof(LONG_S))
    assert not unlaunched.kill()
    unlaunched.renew(proof(LONG_S))
    unlaunched.end()
    unlaunched.disarm()
    assert unlaunched.step(now()) > 0
    assert unlaunched.pid is None


def test_the_deadline_is_the_leases_end_less_its_margin(fence: GuardFence) -> None:
    first = proof(LONG_S)
    assert fence.arm(first)
    assert deadline_s(fence) == pytest.approx(first.sent.boot_s + LONG_S - margin_s(LONG_S))
    fence.renew(later(first, 5.0))
    assert deadline_s(fence) == pytest.approx(first.sent.boot_s + 5.0 + LONG_S - margin_s(LONG_S))


@pytest.mark.parametrize(("seconds", "incarnation"), [(5.0, "two"), (-5.0, None), (0.0, None)])
def test_no_newer_proof_of_the_same_lock_moves_no_deadline(fence: GuardFence, seconds: float, incarnation: str | None) -> None:
    first = proof(LONG_S)
    assert fence.arm(first)
    before_s = deadline_s(fence)
    fence.renew(later(first, seconds, incarnation))
    assert deadline_s(fence) == before_s


def test_an_armed_guard_goes_over_to_another_lock_only_inside_the_deadline(fence: GuardFence) -> None:
    first = proof(LONG_S)
    assert fence.arm(first)
    assert not fence.arm(later(first, LONG_S, "two"))
    assert fence.is_armed_under(first.incarnation)
    assert fence.arm(later(first, 1.0, "two"))
    assert not fence.is_armed_under(first.incarnation)


def test_a_refusal_overtakes_an_arming_that_was_not_seen(fence: GuardFence) -> None:
    with frozen(fence):
        assert not fence.arm(proof(LONG_S))  # no acknowledgement within 1 s
        fence.end()
    assert settled(fence) is GuardState.IDLE


def test_a_disarming_does_not_overtake_a_kill(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    with frozen(fence):
        fence.end()
        fence.disarm()
    assert settled(fence) is GuardState.KILLED


def test_nor_does_an_arming(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    with frozen(fence):
        fence.end()
        assert not fence.arm(proof(LONG_S, "two"))
    assert settled(fence) is GuardState.KILLED


def test_a_refusal_that_comes_after_the_disarming_concerns_nobody(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    with frozen(fence):
        fence.disarm()
        fence.end()
    assert settled(fence) is GuardState.IDLE


def test_a_renewal_after_the_end_changes_nothing(fence: GuardFence) -> None:
    first = proof(LONG_S)
    assert fence.arm(first)
    with frozen(fence):
        fence.end()
        fence.renew(later(first, 1.0))
        assert deadline_s(fence) == 0
    assert settled(fence) is GuardState.KILLED


def test_renewals_and_steps_never_wait_for_a_guard_that_hears_nothing(fence: GuardFence) -> None:
    first = proof(LONG_S)
    assert fence.arm(first)
    with frozen(fence):
        began_s = time.monotonic()
        for number in range(2000):  # far more than a socket holds
            fence.renew(later(first, 0.001 * (number + 1)))
            fence.step(now())
            fence.state()
        assert time.monotonic() - began_s < 2.0
    assert fence.kill()


def test_an_agent_that_was_away_itself_does_not_call_the_guard_silent(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    with frozen(fence):
        fence.step(now())
        seen = now()
        fence.step(dataclasses.replace(seen, boot_s=seen.boot_s + 3600.0))
        assert fence.state() is GuardState.ARMED


def test_a_guard_looks_four_times_a_second_while_armed_and_sleeps_while_idle(fence: GuardFence) -> None:
    def switches() -> int:
        lines = Path(f"/proc/{fence.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    def during(seconds: float) -> int:
        before, until_s = switches(), time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= until_s, LIMIT_S, "the end of the watch")
        return switches() - before

    during(0.2)  # the start may not be over yet
    assert during(0.5) == 0
    assert fence.arm(proof(LONG_S))
    assert 2 <= during(1.0) <= 8


def test_a_guard_that_dies_is_started_anew_and_goes_on_from_the_page(fence: GuardFence) -> None:
    first = fence.pid
    assert first is not None
    assert fence.arm(proof(LONG_S))
    kill(first)
    wait_until(lambda: not is_guard(first), LIMIT_S, "the guard's death")
    assert fence.launch() != first
    assert fence.state() is GuardState.ARMED
    assert fence.is_armed_under(proof(1.0).incarnation)
    assert fence.arm(proof(LONG_S))


def test_what_happened_is_told_once(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    assert fence.kill()

    def said() -> list[str]:
        fence.step(now())
        return fence.said()

    assert wait_until(said, LIMIT_S, "a line for the log") == ["killed 0 processes: ordered"]
    assert said() == []


def test_a_message_that_is_not_understood_is_refused(fence: GuardFence) -> None:
    line = guard_launch.connect(fence.place.name, fence.place.user)
    assert line is not None
    assert line.ask("burn").text.startswith("refused")
    assert line.ask("drill 99999").text.startswith("refused")
    line.close()


def test_a_socket_of_another_user_is_no_guard(fence: GuardFence) -> None:
    with pytest.raises(GuardUnavailable, match="belongs to user id"):
        guard_launch.connect(fence.place.name, fence.place.user + 1)


def test_a_guard_of_another_version_is_named(tmp_path: Path) -> None:
    place = guard_launch.place(str(tmp_path), frozenset({"postgres"}), os.geteuid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind("\0" + place.name)
        listener.listen()

        def answer() -> None:
            connected, _ = listener.accept()
            with connected:
                connected.recv(100)
                connected.send(b"1 99 2 0 4711 ")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(GuardUnavailable, match="another version runs, pid 4711"):
            GuardFence(place, 10.0).launch()
        thread.join(LIMIT_S)


def test_an_idle_guard_ends_with_its_agent(fence: GuardFence) -> None:
    guard = fence.pid
    assert guard is not None
    fence.close()
    wait_until(lambda: not is_guard(guard), LIMIT_S, "the guard's end")


def test_the_guards_death_is_seen(fence: GuardFence) -> None:
    assert fence.pid is not None
    assert fence.state() is GuardState.IDLE
    kill(fence.pid)

    def is_absent() -> bool:
        fence.step(now())
        return fence.state() is GuardState.ABSENT

    wait_until(is_absent, LIMIT_S, "absent")
    assert not fence.arm(proof(LONG_S))


def test_a_frozen_guard_is_absent_within_two_seconds(fence: GuardFence) -> None:
    assert fence.pid is not None
    assert fence.arm(proof(LONG_S))
    kill(fence.pid, signal.SIGSTOP)
    assert not fence.arm(proof(LONG_S, "two"))  # no acknowledgement within 1 s

    def is_absent() -> bool:
        fence.step(now())
        return fence.state() is GuardState.ABSENT

    wait_until(is_absent, 4.0, "absent")
    kill(fence.pid, signal.SIGCONT)
    wait_until(lambda: not is_absent(), LIMIT_S, "a guard that answers again")


def test_signals_that_can_be_ignored_are(fence: GuardFence) -> None:
    assert fence.pid is not None
    for name in ("TERM", "INT", "HUP", "QUIT", "PIPE", "USR1", "USR2", "ALRM"):
        kill(fence.pid, getattr(signal, f"SIG{name}"))
    assert fence.arm(proof(LONG_S))
    assert is_guard(fence.pid)
    assert os.getsid(fence.pid) == fence.pid


def test_a_second_guard_for_the_same_page_ends_at_once(fence: GuardFence) -> None:
    second = GuardFence(fence.place, 10.0)
    page = guard_launch.own_page(fence.place)
    guard_launch.start(fence.place, page)  # as an agent does that has not found the first one
    page.close()
    assert second.launch() == fence.pid
    second.close()


def test_a_page_whose_file_was_removed_is_still_shared(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    os.unlink(f"/dev/shm/{fence.place.name}")
    other = GuardFence(fence.place, 10.0)
    other.launch()
    assert other.is_armed_under(proof(1.0).incarnation)
    other.close()


def test_a_passer_by_disarms(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    assert guard_status.disarm(fence.place) is GuardState.IDLE


def test_what_the_guard_weighs_and_shows(fence: GuardFence) -> None:
    assert fence.arm(proof(LONG_S))
    process = Path(f"/proc/{fence.pid}")
    wait_until(lambda: b"armed" in (process / "cmdline").read_bytes(), LIMIT_S, "the title")
    title = (process / "cmdline").read_bytes().rstrip(b"\0").decode()
    assert title == f"patroni guard: {fence.place.directory} armed"
    weights = {line.split(":")[0]: int(line.split()[1]) for line in (process / "smaps_rollup").read_text().splitlines()[1:]}
    assert weights["Rss"] <= 12 * 1024
    assert weights["Private_Dirty"] <= 4 * 1024
    opened = sorted(os.readlink(fd) for fd in (process / "fd").iterdir())
    assert not [path for path in opened if path.startswith("/") and not path.startswith(("/dev/", "/proc"))]


HEAVY = {"dataclasses", "enum", "typing", "socket", "signal", "re", "subprocess", "threading", "json", "logging", "ctypes"}


def test_the_guard_imports_nothing_heavy() -> None:
    words = f"import sys; sys.path.append({str(ROOT)!r}); import patroni.fence.runner; print(*sys.modules)"
    python = os.path.realpath(sys.executable)
    shown = subprocess.run([python, "-I", "-S", "-E", "-c", words], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(shown.stdout.split())
    assert "patroni.fence.guard" in loaded
    assert not loaded & HEAVY
