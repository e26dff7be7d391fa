"""The file worker: a disk that hangs costs an answer, and never the lane that gives up power (safety_rules.md §7.3)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from patroni.agent import clock
from patroni.agent.event import ChainEnded
from patroni.agent.file_worker import FileWorker
from patroni.decision.actions import Checkpoint, Follow, Promote, ReleaseLock
from patroni.decision.cluster import Token
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError, PostgresTimeout
from tests.agent.builders import proof
from tests.agent.rig import Rig, released, rigged

PATIENCE_S = 20.0
RELEASE = ReleaseLock(token=Token("t"))


@pytest.fixture
def worker() -> Iterator[FileWorker]:
    made = FileWorker()
    yield made
    made.close(PATIENCE_S)


def test_it_answers_and_raises_what_was_raised(worker: FileWorker) -> None:
    def fail() -> None:
        raise PostgresError("torn")

    assert worker.ask(lambda: threading.current_thread().name, PATIENCE_S) == "files"
    with pytest.raises(PostgresError, match="torn"):
        worker.ask(fail, PATIENCE_S)


def test_while_it_hangs_one_question_waits_and_the_next_are_told_at_once(worker: FileWorker) -> None:
    gate = threading.Event()
    done: list[str] = []
    with released(gate):
        worker.do(lambda: done.append(f"looked {gate.wait(PATIENCE_S)}"))
        with pytest.raises(PostgresTimeout):
            worker.ask(lambda: done.append("first"), 0.1)
        began_s = time.monotonic()
        with pytest.raises(PostgresTimeout):
            worker.ask(lambda: done.append("second"), PATIENCE_S)
        assert time.monotonic() - began_s < PATIENCE_S / 2
    worker.do(lambda: done.append("on"))
    worker.close(PATIENCE_S)
    assert done == ["looked True", "on"], "what had no answer in time is not begun later"


def test_it_is_asked_again_once_it_goes_on(worker: FileWorker) -> None:
    gate, late = threading.Event(), threading.Event()
    with released(gate), pytest.raises(PostgresTimeout):
        worker.ask(lambda: gate.wait(PATIENCE_S), 0.1)
    worker.do(late.set)
    assert late.wait(PATIENCE_S)
    assert worker.ask(lambda: 5, PATIENCE_S) == 5


# --- chains on a dead disk


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rigged(has_data=True) as made:
        yield made


@pytest.mark.parametrize(
    ("action", "hanging"),
    [(RELEASE, pg.ReadFiles), (Follow(None), pg.WriteConfiguration), (Promote(), pg.SignalPromote)],
    ids=["a release", "a follow", "a promotion"],
)
def test_a_chain_on_a_dead_disk_ends_without_an_answer_and_blocks_no_other(
    rig: Rig, action: ReleaseLock | Follow | Promote, hanging: type
) -> None:
    rig.renew()
    rig.keeper.take(proof(clock.now().boot_s), if_epoch=rig.keeper.epoch)
    rig.postgres.hold(hanging)
    rig.run(action)
    ended = rig.await_told(ChainEnded)
    assert (ended.failed, ended.is_refusal) == (action, False)
    rig.run(Checkpoint())
    assert rig.await_told(ChainEnded, 2).failed is None
    rig.run(RELEASE)
    assert rig.await_told(ChainEnded, 3).failed == RELEASE
    rig.postgres.let_go(hanging)


def test_a_promotion_whose_answer_was_late_is_not_signalled_any_more(rig: Rig) -> None:
    rig.renew()
    now = clock.now()
    rig.keeper.take(replace(proof(), sent=now), if_epoch=rig.keeper.epoch)
    rig.postgres.hold(pg.SignalPromote)
    rig.run(Promote())
    rig.await_asked(pg.SignalPromote)
    (request,) = [asked for asked in rig.postgres.asked if isinstance(asked, pg.SignalPromote)]
    assert request.is_due()
    assert rig.await_told(ChainEnded).failed == Promote()
    assert not request.is_due()
    rig.postgres.let_go(pg.SignalPromote)
