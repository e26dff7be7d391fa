"""The reference state beyond the suite: what the simulation does with it."""

from __future__ import annotations

import pytest

from patroni.dcs.memory import MemoryState
from patroni.dcs.store import Create, Delete, OpenSession, ReadPrefix, RenewSession, Timing
from patroni.dcs.stores import open_store
from patroni.decision.lease import Instant
from patroni.decision.request import ReadInstant

KEY = "/service/batman/leader"


def test_a_copy_goes_its_own_way() -> None:
    """A backup, or a follower that lags: what comes later on either side stays there."""
    state = MemoryState()
    session = state.apply(OpenSession(10.0), 0.0)
    entry = state.apply(Create(KEY, "a", session.id), 0.0)
    backup = state.copy()
    state.apply(RenewSession(session.id), 5.0)
    state.apply(Delete(KEY, entry.token), 5.0)
    assert backup.apply(ReadPrefix("/service/"), 9.9).entries == {KEY: entry}
    assert (backup.revision, state.revision) == (1, 2)
    assert not backup.apply(ReadPrefix("/service/"), 10.0).entries
    assert (backup.next_expiry_s(), state.next_expiry_s()) == (None, 15.0)


def test_what_is_no_request_of_a_store() -> None:
    with pytest.raises(TypeError):
        MemoryState().apply(ReadInstant(), 0.0)


def test_etcd3_is_opened_without_an_answer() -> None:
    store = open_store("etcd3", {"host": "127.0.0.1:1"}, timing=Timing(), clock=lambda: Instant(boot_s=0.0, raw_s=0.0))
    assert store.can_write_under
    store.close()
