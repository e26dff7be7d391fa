"""Lanes do what they are given, in order, whatever one call raises; `drive` runs a generator to its end and closes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from patroni.agent.lane import Lane
from patroni.agent.perform import FAILURES, drive, limit_s
from patroni.agent.request import Void
from patroni.decision.request import ReadInstant, Request, Steps, ask
from patroni.postgres import request as pg
from tests.agent.builders import at
from tests.agent.play import FAULTS

PATIENCE_S = 20.0


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane("trial")
    yield made
    made.close(PATIENCE_S)


def test_calls_are_carried_out_in_order(lane: Lane) -> None:
    done: list[int] = []
    for number in range(100):
        lane.do(lambda number=number: done.append(number))  # type: ignore[misc]  # binds this number
    lane.close(PATIENCE_S)
    assert done == list(range(100))


def test_a_fault_ends_no_lane(lane: Lane) -> None:
    done = threading.Event()
    lane.do(broken)
    lane.do(done.set)
    assert done.wait(PATIENCE_S)


def broken() -> None:
    raise KeyError("a bug")


def wait_at(gate: threading.Event) -> None:
    gate.wait(PATIENCE_S)


def test_threads_of_a_lane_share_its_calls() -> None:
    lane = Lane("trial", 2)
    gate, done = threading.Event(), threading.Event()
    lane.do(lambda: wait_at(gate))
    lane.do(done.set)
    assert done.wait(PATIENCE_S), "the other thread is free"
    gate.set()
    lane.close(PATIENCE_S)


def test_a_lane_that_hangs_keeps_nobody_from_ending() -> None:
    lane, gate = Lane("trial"), threading.Event()
    lane.do(lambda: wait_at(gate))
    lane.close(0.01)
    gate.set()


# --- drive


def two_questions(log: list[str]) -> Steps[int]:
    try:
        first = yield from ask(ReadInstant())
        log.append(f"first at {first.boot_s:g}")
        yield from ask(ReadInstant())
        return 7
    except FAILURES as failure:
        log.append(type(failure).__name__)
        raise
    finally:
        log.append("closed")


def test_what_a_generator_returns() -> None:
    log: list[str] = []
    assert drive(two_questions(log), lambda _: at(5.0)) == 7
    assert log == ["first at 5", "closed"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_failure_is_thrown_into_the_generator(fault: Exception) -> None:
    log: list[str] = []

    def fail(_: Request[object]) -> object:
        raise fault

    with pytest.raises(type(fault)) as seen:
        drive(two_questions(log), fail)
    assert seen.value is fault and log == [type(fault).__name__, "closed"]


def test_an_unforeseen_fault_closes_the_generator_and_is_raised() -> None:
    log: list[str] = []
    with pytest.raises(KeyError):
        drive(two_questions(log), lambda _: broken())
    assert log == ["closed"]


def test_a_generator_that_goes_on_after_a_failure() -> None:
    def patient() -> Steps[str]:
        try:
            yield from ask(ReadInstant())
        except Void:
            yield from ask(ReadInstant())
        return "done"

    answers: list[object] = [Void("no"), at(1.0)]

    def perform(_: Request[object]) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert drive(patient(), perform) == "done"


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        (pg.AwaitReady(within_s=300.0), 305.0),
        (pg.AwaitReady(within_s=None), 7 * 86400.0),
        (pg.AwaitDown(within_s=0.1), 5.1),
        (pg.RunCheckpoint(within_s=30.0), 35.0),
        (pg.SignalPromote(), 10.0),
        (pg.BaseBackup("postgres://b/"), 7 * 86400.0),
    ],
)
def test_every_request_is_bounded(request_: Request[object], limit: float) -> None:
    assert limit_s(request_) == limit
