"""The lease's arithmetic, and the form of a multi-step effect."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from patroni.decision.cluster import Incarnation, Leader, SessionId, Token
from patroni.decision.lease import Instant, Lease, elapsed_s, fence_left_s, lease_left_s, margin_s, renewal_period_s
from patroni.decision.request import ReadInstant, ask
from tests.decision.builders import NOW_S, a_proof, held


def at(boot_s: float, raw_s: float | None = None) -> Instant:
    return Instant(boot_s=boot_s, raw_s=boot_s if raw_s is None else raw_s)


@pytest.mark.parametrize(
    ("since", "now", "then"),
    [
        (at(10), at(12), 2),
        pytest.param(at(10), at(12, 13), 3, id="CLOCK_BOOTTIME was slowed down"),
        pytest.param(at(10), at(13, 12), 3, id="CLOCK_MONOTONIC_RAW does not count suspend"),
    ],
)
def test_elapsed_is_what_the_faster_clock_says(since: Instant, now: Instant, then: float) -> None:
    assert elapsed_s(since, now) == then


@pytest.mark.parametrize(("ttl_s", "then"), [(5.0, 1.0), (10.0, 1.4), (30.0, 3.0)])
def test_margin(ttl_s: float, then: float) -> None:
    assert margin_s(ttl_s) == pytest.approx(then)


@pytest.mark.parametrize(("ttl_s", "then"), [(30.0, 10.0), (20.0, 20 / 3), (19.0, 3.8), (5.0, 1.0)])
def test_renewal_period(ttl_s: float, then: float) -> None:
    assert renewal_period_s(ttl_s) == pytest.approx(then)


def test_a_lease_counts_from_before_its_renewal_was_sent() -> None:
    proof, later = a_proof(), at(NOW_S + 10)
    assert lease_left_s(proof, later) == pytest.approx(20.0)
    assert fence_left_s(proof, later) == pytest.approx(17.0)


@pytest.mark.parametrize(
    ("given", "then"),
    [
        pytest.param(held(0.1), True, id="held"),
        pytest.param(held(0.0), False, id="over"),
        pytest.param(held(is_refused=True), False, id="refused"),
        pytest.param(held(is_gone=True), True, id="gone is not refused"),
        pytest.param(Lease(left_s=5.0), False, id="never proved"),
    ],
)
def test_is_held(given: Lease, then: bool) -> None:
    assert given.is_held is then


@pytest.mark.parametrize(
    ("changes", "then"),
    [
        pytest.param({}, True, id="the lock that was proved"),
        pytest.param({"token": Token("later")}, True, id="written since"),
        pytest.param({"incarnation": Incarnation("another")}, False, id="created anew"),
        pytest.param({"session": SessionId("another")}, False, id="before its adoption, or after somebody else's"),
    ],
)
def test_which_leader_key_is_the_proved_lock(changes: dict[str, Any], then: bool) -> None:
    proof = a_proof()
    leader = Leader(name="a", incarnation=proof.incarnation, token=proof.token, session=proof.session)
    assert proof.is_of(replace(leader, **changes)) is then


def test_a_generator_yields_a_request_and_returns_its_answer() -> None:
    def steps() -> Generator[Any, Any, Instant]:
        return (yield from ask(ReadInstant()))

    running = steps()
    assert next(running) == ReadInstant()
    with pytest.raises(StopIteration) as ended:
        running.send(at(5))
    assert ended.value.value == at(5)
