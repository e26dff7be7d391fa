"""Every action has its words; none is a name of the program's own."""

from __future__ import annotations

from typing import get_args

import pytest

from patroni.agent.action_text import _TEXTS, text_of
from patroni.decision import actions as act
from patroni.decision.actions import JOBS, Effect, JobControl, Question
from patroni.decision.cluster import Token


def test_each_action_has_its_words() -> None:
    others = {*get_args(Effect), *get_args(JobControl), *get_args(Question), act.Exit}
    assert set(_TEXTS) == others
    assert not others & set(JOBS)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (act.AcquireLock(), "acquiring the leader lock"),
        (act.ReleaseLock(token=Token("t")), "releasing the leader lock"),
        (act.StopPostgres(is_fast=True), "stop"),
        (act.Rewind(member="b", conn_url=""), "running pg_rewind from b"),
    ],
)
def test_words(action: act.Action, words: str) -> None:
    assert text_of(action) == words
