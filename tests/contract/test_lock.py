"""The lock: one winner, and a proof that is worth its name (safety_rules.md §1-2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from patroni.dcs.store import (
    Create,
    Delete,
    EndSession,
    Entry,
    LockRef,
    ProveLock,
    Refusal,
    Refused,
    Session,
    Store,
    Write,
    perform,
)
from patroni.decision.cluster import Token
from tests.contract.site import TIMEOUT_S, Site, refused

RACERS = 6
ROUNDS = 8


def _race(site: Site, attempt: Callable[[Store, int], Entry]) -> list[Entry]:
    """Let some clients try at the same moment; return the entries of those who were not refused."""
    barrier = threading.Barrier(RACERS)
    stores = [site.client() for _ in range(RACERS)]

    def run(index: int) -> Entry | None:
        barrier.wait(TIMEOUT_S)
        try:
            return attempt(stores[index], index)
        except Refused as refusal:
            if refusal.why not in (Refusal.EXISTS, Refusal.CHANGED):
                raise
            return None

    with ThreadPoolExecutor(RACERS) as pool:
        return [entry for entry in pool.map(run, range(RACERS)) if entry is not None]


def test_one_of_many_wins_the_lock(site: Site) -> None:
    sessions = [site.open(ttl_s=60.0) for _ in range(RACERS)]
    incarnations = set()
    for _ in range(ROUNDS):
        won = _race(site, lambda store, index: perform(store, Create(site.key(), f"n{index}", sessions[index].id), TIMEOUT_S))
        assert won == [site.entry()]
        incarnations.add(won[0].incarnation)
        perform(site.store, Delete(site.key(), won[0].token), TIMEOUT_S)
    assert len(incarnations) == ROUNDS


def test_one_of_many_writes_over_a_version(site: Site) -> None:
    entry = site.create("sync", "0")
    for _ in range(ROUNDS):

        def write(store: Store, index: int, token: Token = entry.token) -> Entry:
            return perform(store, Write(site.key("sync"), f"{index}", token=token), TIMEOUT_S)

        won = _race(site, write)
        assert won == [site.entry("sync")]
        entry = won[0]


def test_one_of_many_deletes_a_version(site: Site) -> None:
    for _ in range(ROUNDS):
        entry = site.create("leader", "a")

        def delete(store: Store, index: int, entry: Entry = entry) -> Entry:
            perform(store, Delete(entry.key, entry.token), TIMEOUT_S)
            return entry

        assert _race(site, delete) == [entry]


def test_one_store_serves_many_threads(site: Site) -> None:
    """Every thread counts its own key up, by compare-and-set, on the one client."""

    def count(index: int) -> str:
        entry = site.create(f"members/{index}", "0")
        for number in range(1, 21):
            entry = perform(site.store, Write(entry.key, str(number), token=entry.token), TIMEOUT_S)
        return entry.value

    with ThreadPoolExecutor(RACERS) as pool:
        assert set(pool.map(count, range(RACERS))) == {"20"}


def test_a_proof_shows_the_prefix(site: Site) -> None:
    session = site.renew(site.open(ttl_s=60.0))
    lock = site.create("leader", "a", session)
    other = site.create("config", "{}")
    snapshot = site.prove(lock, session)
    assert snapshot.is_linearizable
    assert snapshot.entries == {lock.key: lock, other.key: other}
    assert snapshot.store_id == site.read().store_id
    if site.store.has_revision:
        assert snapshot.revision is not None and other.revision is not None
        assert snapshot.revision >= other.revision


def test_a_proof_survives_renewals_and_own_rewrites(site: Site) -> None:
    session = site.open(ttl_s=60.0)
    lock = site.create("leader", "a", session)
    for _ in range(3):
        session = site.renew(session)
        lock = perform(site.store, Write(lock.key, "a", session.id, lock.token), TIMEOUT_S)
        assert site.prove(lock, session).entries[lock.key] == lock


def test_a_lock_that_vanished_is_gone(site: Site) -> None:
    session = site.renew(site.open(ttl_s=60.0))
    lock = site.create("leader", "a", session)
    perform(site.store, Delete(lock.key, lock.token), TIMEOUT_S)
    refused(site.store, _proof(site, lock, session), Refusal.GONE)


def test_a_lock_created_anew_is_not_ours(site: Site) -> None:
    """Even by ourselves, under the same session and name."""
    session = site.renew(site.open(ttl_s=60.0))
    lock = site.create("leader", "a", session)
    perform(site.store, Delete(lock.key, lock.token), TIMEOUT_S)
    anew = site.create("leader", "a", session)
    refused(site.store, _proof(site, lock, session), Refusal.NOT_OURS)
    assert site.prove(anew, session).entries[anew.key] == anew


def test_a_lock_under_another_session_is_not_ours(site: Site) -> None:
    """Our name and our incarnation, and yet a key that will not live as long as our session does."""
    session, other = site.open(ttl_s=60.0), site.open(ttl_s=60.0)
    session = site.renew(session)
    lock = site.create("leader", "a", session)
    moved = perform(site.store, Write(lock.key, "a", other.id, lock.token), TIMEOUT_S)
    refused(site.store, _proof(site, lock, session), Refusal.NOT_OURS)
    other = site.renew(other)
    assert site.prove(moved, other).entries[moved.key] == moved


def test_a_lock_without_a_session_is_not_ours(site: Site) -> None:
    session = site.renew(site.open(ttl_s=60.0))
    lock = site.create("leader", "a", session)
    perform(site.store, Write(lock.key, "a"), TIMEOUT_S)
    refused(site.store, _proof(site, lock, session), Refusal.NOT_OURS)


def test_a_lock_of_an_ended_session_is_gone(site: Site) -> None:
    session = site.renew(site.open(ttl_s=60.0))
    lock = site.create("leader", "a", session)
    perform(site.store, EndSession(session.id), TIMEOUT_S)
    refused(site.store, _proof(site, lock, session), Refusal.GONE)


def _proof(site: Site, lock: Entry, session: Session) -> ProveLock:
    ref = LockRef(key=lock.key, incarnation=lock.incarnation)
    return ProveLock(lock=ref, session=session, prefix=site.prefix)
