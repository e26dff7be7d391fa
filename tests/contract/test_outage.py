"""A server that is away, silent, or whose answers are lost: "no answer" is never a "no", and nothing is lost by it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress

import pytest

from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    Delete,
    DeletePrefix,
    EndSession,
    Entry,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    RenewSession,
    Session,
    Write,
    perform,
)
from patroni.decision.request import Request
from tests.contract.harness import Harness
from tests.contract.site import TIMEOUT_S, Site, await_snapshot, refused

TRY_S = 0.3  # of a request that will not be answered
SLACK_S = 1.0  # by how much a request may outlast its timeout


def _every_request(site: Site, lock: Entry, session: Session) -> list[Request[object]]:
    ref = LockRef(key=lock.key, incarnation=lock.incarnation)
    requests = (
        OpenSession(60.0),
        RenewSession(session.id),
        ProveLock(lock=ref, session=session, prefix=site.prefix),
        ReadPrefix(site.prefix),
        ReadPrefix(site.prefix, is_linearizable=True),
        Create(site.key("other"), "a", session.id),
        Write(lock.key, "b", session.id, lock.token),
        Delete(lock.key, lock.token),
        DeletePrefix(site.key("batman/")),
        EndSession(session.id),
    )
    return list(requests)  # type: ignore[arg-type]  # the answers' types do not matter here


def _break(harness: Harness, kind: str) -> AbstractContextManager[None]:
    return {"cut": harness.cut, "freeze": harness.freeze, "lose replies": harness.lose_replies}[kind]()


@pytest.mark.parametrize("kind", ["cut", "freeze", "lose replies"])
def test_every_request_ends_in_time_without_an_answer(site: Site, kind: str) -> None:
    session = site.renew(site.open(ttl_s=60.0))
    lock = site.create("leader", "a", session)
    with _break(site.harness, kind):
        for request in _every_request(site, lock, session):
            began_s = time.monotonic()
            with pytest.raises(DcsUnavailable):
                perform(site.store, request, TRY_S)
            assert time.monotonic() - began_s < TRY_S + SLACK_S
    site.await_healed()


@pytest.mark.parametrize("kind", ["cut", "freeze"])
def test_a_request_that_did_not_arrive_may_be_repeated(site: Site, kind: str) -> None:
    session = site.open(ttl_s=60.0)
    lock = site.create("leader", "a", session)
    with _break(site.harness, kind):
        for _ in range(2):
            with pytest.raises(DcsUnavailable):
                perform(site.store, RenewSession(session.id), TRY_S)
    site.await_healed()
    session = site.renew(session)
    assert site.prove(lock, session).entries == {lock.key: lock}


def test_a_create_whose_answer_was_lost(site: Site) -> None:
    """It may have won: a refusal would be a lie, a success a guess."""
    session = site.open(ttl_s=60.0)
    with site.harness.lose_replies(), pytest.raises(DcsUnavailable):
        perform(site.store, Create(site.key(), "a", session.id), TRY_S)
    won = await_snapshot(site.watcher(), lambda snapshot: site.key() in snapshot.entries).entries[site.key()]
    assert (won.value, won.session) == ("a", session.id)
    refused(site.store, Create(site.key(), "a", session.id), Refusal.EXISTS)
    assert site.prove(won, site.renew(session)).entries == {won.key: won}


def test_a_write_whose_answer_was_lost(site: Site) -> None:
    """It is carried out once: its token is used up, and a repetition is refused."""
    old = site.create("sync", "0")
    with site.harness.lose_replies(), pytest.raises(DcsUnavailable):
        perform(site.store, Write(old.key, "1", token=old.token), TRY_S)
    await_snapshot(site.watcher(), lambda snapshot: snapshot.entries[old.key].value == "1")
    refused(site.store, Write(old.key, "2", token=old.token), Refusal.CHANGED)


def test_a_delete_whose_answer_was_lost(site: Site) -> None:
    """A late or repeated release never deletes the lock of a later life."""
    old = site.create("leader", "a")
    with site.harness.lose_replies(), pytest.raises(DcsUnavailable):
        perform(site.store, Delete(old.key, old.token), TRY_S)
    await_snapshot(site.watcher(), lambda snapshot: not snapshot.entries)
    new = site.create("leader", "a")
    refused(site.store, Delete(old.key, old.token), Refusal.CHANGED)
    assert site.entry() == new


def test_a_lost_renewal_does_not_shorten_the_session(site: Site) -> None:
    """What hangs on it lives at least a ttl from the last renewal that was answered."""
    session = site.open(ttl_s=60.0)
    lock = site.create("leader", "a", session)
    with site.harness.lose_replies(), pytest.raises(DcsUnavailable):
        perform(site.store, RenewSession(session.id), TRY_S)
    site.await_healed()
    assert site.prove(lock, site.renew(session)).entries == {lock.key: lock}


def test_an_expiry_while_we_are_cut_off(site: Site) -> None:
    """The store forgets us; when it answers again the answer is no."""
    session = site.open()
    lock = site.create("leader", "a", session)
    watcher = site.direct().watcher(site.prefix)
    with site.harness.cut():
        until_s = time.monotonic() + session.ttl_s + site.harness.expiry_bound_s
        while time.monotonic() < until_s:
            try:
                watcher.next(until_s - time.monotonic())
            except DcsUnavailable:
                continue
    watcher.close()
    assert not site.await_healed().entries
    refused(site.store, RenewSession(session.id), Refusal.SESSION_GONE)
    proof = ProveLock(lock=LockRef(key=lock.key, incarnation=lock.incarnation), session=session, prefix=site.prefix)
    refused(site.store, proof, Refusal.GONE)
    other = site.open()
    site.create("leader", "b", other)
    refused(site.store, proof, Refusal.NOT_OURS)


@pytest.mark.parametrize("kind", ["cut", "freeze"])
def test_a_watcher_sees_what_happened_meanwhile(site: Site, kind: str) -> None:
    old = site.create("leader", "a")
    watcher = site.watcher()
    watcher.next(TIMEOUT_S)
    with _break(site.harness, kind):
        with pytest.raises(DcsUnavailable):
            perform(site.store, ReadPrefix(site.prefix), TRY_S)
        with suppress(DcsUnavailable):  # a stream that notices its break says so; one that cannot notice it keeps silent
            assert watcher.next(TRY_S) is None
    site.await_healed()
    perform(site.store, Write(old.key, "b"), TIMEOUT_S)
    perform(site.store, Write(site.key("config"), "{}"), TIMEOUT_S)
    await_snapshot(watcher, lambda snapshot: site.key("config") in snapshot.entries and snapshot.entries[old.key].value == "b")


def test_a_restart_of_the_server_loses_nothing(site: Site) -> None:
    session = site.renew(site.open(ttl_s=60.0))
    lock, config = site.create("leader", "a", session), site.create("config", "{}")
    before = site.read()
    site.harness.restart()
    after = site.await_healed()
    assert after.entries == {lock.key: lock, config.key: config}
    assert after.store_id == before.store_id
    if before.revision is not None:
        assert after.revision is not None and after.revision >= before.revision
    session = site.await_answer(RenewSession(session.id))
    ref = LockRef(key=lock.key, incarnation=lock.incarnation)
    assert site.await_answer(ProveLock(lock=ref, session=session, prefix=site.prefix)).entries == after.entries


def test_a_restart_is_followed_by_watchers(site: Site) -> None:
    old = site.create("leader", "a")
    watcher = site.watcher()
    watcher.next(TIMEOUT_S)
    site.harness.restart()
    site.await_healed()
    perform(site.store, Write(old.key, "b"), TIMEOUT_S)
    await_snapshot(watcher, lambda snapshot: snapshot.entries[old.key].value == "b")
