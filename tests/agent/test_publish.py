"""Publisher: when the own member key is written; at rest not at all, after a lost answer again (contract/dcs.md §1.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from patroni.agent.order import TouchMember
from patroni.agent.publish import Publisher
from patroni.dcs.store import Session
from patroni.decision.cluster import Lsn, PostgresState, Role, SessionId, Tags, Timeline
from patroni.decision.lease import Lease
from patroni.decision.node import Job, JobKind, Node
from patroni.decision.settings import Settings
from patroni.decision.view import View
from tests.agent.builders import SESSION, at, held
from tests.decision.builders import a_cluster, a_member, a_standby, a_view, members

OPEN = Session(id=SESSION, ttl_s=30.0)
OTHER = Session(id=SessionId("s2"), ttl_s=30.0)


class Bench:
    """A publisher on a clock that only the test moves."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.now_s = 1000.0
        self.node = a_standby()
        self.lease = Lease()
        self.settings = Settings()
        self.cluster = a_cluster("b")
        self.cluster_age_s = 0.0

    def view(self) -> View:
        given: dict[str, Any] = {"lease": self.lease, "settings": self.settings, "cluster_age_s": self.cluster_age_s}
        return replace(a_view(self.node, self.cluster), **given)

    def touch(self, later_s: float = 0.0, session: Session | None = OPEN) -> TouchMember | None:
        self.now_s += later_s
        return self.publisher.touch(self.view(), session, at(self.now_s))

    def answer(self, *, is_ok: bool = True, later_s: float = 0.0) -> None:
        self.now_s += later_s
        self.publisher.answered(is_ok, at(self.now_s))

    def write(self) -> None:
        """Write what stands now."""
        assert self.touch() is not None
        self.answer()

    @property
    def due_in_s(self) -> float:
        return self.publisher.due_at_s(at(self.now_s)) - self.now_s


def test_the_first_session_writes_it() -> None:
    bench = Bench()
    assert bench.touch(session=None) is None
    wanted = bench.touch()
    assert wanted == TouchMember(node=bench.node, is_leader=False)


def test_at_rest_nothing_is_written() -> None:
    bench = Bench()
    bench.write()
    for _ in range(10):
        assert bench.touch(later_s=10.0) is None
    assert bench.due_in_s == bench.settings.loop_wait_s


@pytest.mark.parametrize(
    "changes",
    [
        {"state": PostgresState.STOPPING},
        {"role": Role.PROMOTED},
        {"timeline": Timeline(2)},
        {"replication_state": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_change_is_written_at_once(changes: dict[str, Any]) -> None:
    bench = Bench()
    bench.write()
    bench.node = replace(bench.node, **changes)
    assert bench.touch(later_s=0.01) is not None


def test_leading_pausing_and_tags_are_written_at_once() -> None:
    bench = Bench()
    bench.write()
    bench.lease = held()
    assert bench.touch() == TouchMember(node=bench.node, is_leader=True)
    bench.answer()
    bench.settings = Settings(is_paused=True)
    bench.write()
    bench.settings = Settings(is_paused=True, tags=Tags(nofailover=True, published={"nofailover": True}))
    bench.write()


def test_a_leaders_checkpoint_after_its_promotion_is_written_at_once_and_a_standbys_does_not_matter() -> None:
    bench = Bench()
    bench.write()
    bench.node = replace(bench.node, is_checkpointed=True)
    assert bench.touch() is None
    bench.lease, bench.node = held(), replace(bench.node, is_checkpointed=False)
    bench.write()
    bench.node = replace(bench.node, is_checkpointed=True)
    assert bench.touch() is not None


def test_a_position_that_becomes_known_is_written_at_once() -> None:
    bench = Bench()
    bench.node = replace(bench.node, lsn=None, receive_lsn=None, replay_lsn=None)
    bench.write()
    bench.node = replace(bench.node, lsn=Lsn(6000), replay_lsn=Lsn(6000))
    assert bench.touch(later_s=0.1) is not None
    bench.answer()
    bench.node = replace(bench.node, receive_lsn=Lsn(6000))
    assert bench.touch(later_s=0.1) is not None


def test_what_a_job_leaves_out_is_written_at_its_end() -> None:
    bench = Bench()
    bench.node = replace(bench.node, job=Job(kind=JobKind.CLONE_FROM_LEADER))
    bench.write()
    bench.node = replace(bench.node, job=None)
    assert bench.touch(later_s=0.1) is not None


def test_what_is_forgotten_is_written_again_after_the_write_under_way() -> None:
    bench = Bench()
    bench.write()
    bench.publisher.forget()
    assert bench.touch() is not None
    bench.publisher.forget()
    assert bench.touch() is None
    bench.answer()
    bench.write()
    assert bench.touch() is None


def test_positions_are_written_once_a_loop_wait() -> None:
    bench = Bench()
    bench.write()
    written = 0
    for moved in range(100):
        bench.node = replace(bench.node, lsn=Lsn(6000 + moved))
        if bench.touch(later_s=1.0) is not None:
            bench.answer()
            written += 1
    assert written == 10


def test_a_new_session_writes_it_again() -> None:
    bench = Bench()
    bench.write()
    assert bench.touch(session=OTHER) is not None


def test_one_write_is_under_way_and_what_changes_meanwhile_follows_it() -> None:
    bench = Bench()
    bench.touch()
    bench.node = replace(bench.node, state=PostgresState.STOPPING)
    assert bench.touch(later_s=1.0) is None
    bench.answer()
    assert bench.touch() == TouchMember(node=bench.node, is_leader=False)
    bench.answer()
    assert bench.touch() is None


def test_a_failed_write_is_repeated_after_a_moment() -> None:
    bench = Bench()
    bench.touch()
    bench.answer(is_ok=False)
    assert bench.touch(later_s=0.9) is None
    assert bench.due_in_s == 1.0
    assert bench.touch(later_s=0.1) is not None


def test_a_write_that_failed_under_a_session_that_is_gone_is_repeated_under_the_new_one_at_once() -> None:
    bench = Bench()
    bench.touch()
    bench.answer(is_ok=False)
    assert bench.touch(session=OTHER) is not None


def test_a_write_whose_answer_never_comes_is_repeated_when_it_cannot_come_any_more() -> None:
    bench = Bench()
    bench.settings = Settings(retry_timeout_s=20.0)
    bench.touch()
    assert bench.touch(later_s=20.0) is None, "the write has so long itself"
    assert bench.touch(later_s=1.1) is not None


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    bench = Bench()
    bench.answer()
    bench.answer(is_ok=False)
    assert bench.touch() is not None


# --- a key that somebody removed (contract/ha_behaviour.md §2.1, C6)


def without_us() -> dict[str, Any]:
    return {"members": {name: member for name, member in members().items() if name != "a"}}


def test_a_key_that_is_missing_in_a_later_view_is_written_again() -> None:
    bench = Bench()
    bench.write()
    bench.cluster, bench.cluster_age_s = a_cluster("b", **without_us()), 0.5
    assert bench.touch(later_s=1.0) is not None
    bench.answer()
    assert bench.touch(later_s=0.1) is None, "that view is older than the write"


def test_a_key_that_is_missing_in_an_older_view_is_not() -> None:
    bench = Bench()
    bench.write()
    bench.cluster, bench.cluster_age_s = a_cluster("b", **without_us()), 1.5
    assert bench.touch(later_s=1.0) is None


def test_another_members_key_does_not_matter() -> None:
    bench = Bench()
    bench.write()
    bench.cluster = a_cluster("b", a_member("z"))
    assert bench.touch(later_s=1.0) is None


def test_a_node_of_which_nothing_is_known_is_a_member_too() -> None:
    bench = Bench()
    bench.node = Node(name="a")
    assert bench.touch() is not None
