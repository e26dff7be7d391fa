"""Repeats of one line: three are shown, then one a minute; other lines, and heartbeats, are left alone (style.md §10)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from patroni.agent.log_repeats import KEPT, Repeats

NAME = "patroni.agent.main"
WAITING = "waiting for the store (etcd3): connection refused"


@pytest.fixture(autouse=True)
def at_info() -> Iterator[None]:
    level = logging.root.level
    logging.root.setLevel(logging.INFO)
    yield
    logging.root.setLevel(level)


def a_record(at_s: float, text: str = WAITING, name: str = NAME, level: int = logging.WARNING) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": name, "msg": text, "levelno": level, "levelname": logging.getLevelName(level)})
    record.created = 1000.0 + at_s
    return record


def shown(repeats: Repeats, *records: logging.LogRecord) -> list[str]:
    judged = (repeats.judged(record) for record in records)
    return [f"{record.levelname} {record.getMessage()}" for record in judged if record is not None]


def test_three_are_shown_and_then_one_a_minute() -> None:
    lines = shown(Repeats(), *(a_record(5.0 * number) for number in range(40)))
    goes_on = [f"WARNING {WAITING} (goes on: {count} times in the last minute)" for count in (12, 12, 12)]
    assert lines == [f"WARNING {WAITING}"] * 3 + goes_on


def test_who_wants_debug_sees_all() -> None:
    logging.getLogger(NAME).setLevel(logging.DEBUG)
    try:
        lines = shown(Repeats(), *(a_record(float(number)) for number in range(5)))
    finally:
        logging.getLogger(NAME).setLevel(logging.NOTSET)
    assert lines == [f"WARNING {WAITING}"] * 3 + [f"DEBUG {WAITING}"] * 2


def test_other_facts_are_another_line() -> None:
    repeats = Repeats()
    assert len(shown(repeats, *(a_record(number, f"{WAITING} {number}") for number in range(9)))) == 9
    assert len(shown(repeats, *(a_record(number, level=logging.INFO) for number in range(3)))) == 3
    assert len(shown(repeats, *(a_record(number) for number in range(3)))) == 3


@pytest.mark.parametrize("later_s", [61.0, -500.0])
def test_what_was_quiet_or_whose_clock_went_back_begins_anew(later_s: float) -> None:
    repeats = Repeats()
    shown(repeats, *(a_record(number) for number in range(5)))
    assert len(shown(repeats, a_record(5.0 + later_s))) == 1


@pytest.mark.parametrize("name", ["patroni.__main__", "patroni.ha", "patroni.rest.switchover", "urllib3"])
def test_heartbeats_and_answers_are_left_alone(name: str) -> None:
    assert len(shown(Repeats(), *(a_record(number, name=name) for number in range(9)))) == 9


def test_the_number_of_series_is_bounded() -> None:
    repeats = Repeats()
    shown(repeats, *(a_record(0.0) for _ in range(4)))
    shown(repeats, *(a_record(0.0, f"{WAITING} {number}") for number in range(KEPT)))
    assert len(shown(repeats, a_record(0.0))) == 1
