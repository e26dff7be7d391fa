"""The journal's lines: one for each new reason, one a loop_wait while nothing changes, and what ends the agent stands out."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from patroni.agent.journal import Journal
from patroni.decision.actions import Exit
from patroni.decision.reasons import Code, because
from patroni.decision.rule import act
from tests.decision.builders import a_view

OK = because(Code.NO_ACTION, name="a")
MISMATCH_TEXT = "postgresql.data_dir: of another cluster; system identifier of node a is 1, that of the cluster is 2"
MISMATCH = because(Code.SYSID_MISMATCH, name="a", mine="1", theirs="2")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "patroni.__main__"]


def test_the_same_reason_has_a_line_a_loop_wait(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    journal, view = Journal(), a_view()
    for later_s in (0.0, 1.0, 9.9, 10.0):
        seen = replace(view, now_s=view.now_s + later_s)
        journal.note(seen, act(seen, OK))
    assert lines(caplog) == [("INFO", "no action. I am (a)")] * 2
    assert len(journal.records()) == 1


@pytest.mark.parametrize(("status", "level"), [(0, "INFO"), (1, "CRITICAL")])
def test_the_reason_that_ends_the_agent(caplog: pytest.LogCaptureFixture, status: int, level: str) -> None:
    caplog.set_level(logging.INFO)
    view = a_view()
    Journal().note(view, act(view, MISMATCH, Exit(status)))
    assert lines(caplog) == [(level, MISMATCH_TEXT)]


def test_it_is_said_again_as_fatal_after_its_steps(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    journal, view = Journal(), a_view()
    journal.note(view, act(view, MISMATCH))
    journal.note(view, act(view, MISMATCH, Exit(1)))
    assert [level for level, _ in lines(caplog)] == ["INFO", "CRITICAL"]


def test_the_last_records_in_words() -> None:
    journal, view = Journal(), a_view()
    for number in range(30):
        journal.note(view, act(view, because(Code.NO_ACTION, name=str(number)), Exit(0)))
    assert len(journal.tail()) == 20
    assert journal.tail()[-1] == f"{view.wall.isoformat()} no action. I am (29)"
