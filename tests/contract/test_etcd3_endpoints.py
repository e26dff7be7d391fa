"""etcd v3 with several endpoints on real servers: dead, silent and stale ones, discovery, and what is never sent twice."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from patroni.dcs.etcd3 import Etcd3Store
from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    Delete,
    DeletePrefix,
    Entry,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Snapshot,
    Watcher,
    Write,
)
from patroni.decision.cluster import SessionId
from tests.contract.etcd3_harness import etcd3_store
from tests.support.directories import server_directory
from tests.support.etcd import Etcd, EtcdMember
from tests.support.ports import reserve_port
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

T = TypeVar("T")

TIMEOUT_S = 5.0
RENEWAL_S = 3.0  # what the keeper gives to one renewal
PATIENCE_S = 30.0
PREFIX = "/service/batman/"
LEADER = PREFIX + "leader"


@pytest.fixture(scope="module")
def member() -> Iterator[EtcdMember]:
    with server_directory("etcd3") as directory, Etcd(directory) as etcd:
        yield etcd.members[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Two ways to one server, each through a proxy of its own, and a port on which nobody listens."""

    first: Proxy
    second: Proxy
    dead_port: int

    def store(self, *ports: int) -> Etcd3Store:
        """Return a client that knows these ways and asks for no others."""
        return etcd3_store({"hosts": [f"127.0.0.1:{port}" for port in ports], "use_proxies": True})


@pytest.fixture
def ways(member: EtcdMember) -> Iterator[Ways]:
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(port=reserve_port(), target_port=member.port)) for _ in range(2)]
        made = Ways(first=proxies[0], second=proxies[1], dead_port=reserve_port())
        cleaning = made.store(made.first.port)
        cleaning.delete_prefix(DeletePrefix(PREFIX), TIMEOUT_S)
        cleaning.close()
        yield made


def _lock(store: Etcd3Store, name: str, ttl_s: float = 60.0) -> tuple[Session, Entry]:
    session = store.open_session(OpenSession(ttl_s), TIMEOUT_S)
    return session, store.create(Create(LEADER, name, session.id), TIMEOUT_S)


def _prove(store: Etcd3Store, session: Session, lock: Entry) -> Snapshot:
    ref = LockRef(key=lock.key, incarnation=lock.incarnation)
    return store.prove_lock(ProveLock(lock=ref, session=session, prefix=PREFIX), RENEWAL_S)


def _renew(store: Etcd3Store, session: Session, lock: Entry) -> Snapshot:
    """Renew and prove, as the keeper does."""
    return _prove(store, store.renew_session(RenewSession(session.id), RENEWAL_S), lock)


def _make_current(store: Etcd3Store, port: int) -> None:
    endpoints = store._client._endpoints
    endpoints.worked(next(endpoint for endpoint in endpoints.ordered() if endpoint.port == port))


def _await_in(watcher: Watcher, is_wanted: Callable[[Snapshot], bool]) -> None:
    def look() -> bool:
        with suppress(DcsUnavailable):
            snapshot = watcher.next(1.0)
            return snapshot is not None and is_wanted(snapshot)
        return False

    wait_until(look, PATIENCE_S, "the change in the watch")


def test_a_renewal_succeeds_in_time_past_a_dead_and_a_silent_endpoint(ways: Ways) -> None:
    store = ways.store(ways.dead_port, ways.first.port, ways.second.port)
    session, lock = _lock(store, "a")
    _make_current(store, ways.dead_port)
    ways.first.black_hole()
    began_s = time.monotonic()
    renewed = store.renew_session(RenewSession(session.id), RENEWAL_S)
    assert time.monotonic() - began_s < RENEWAL_S
    began_s = time.monotonic()
    assert _prove(store, renewed, lock).entries == {LEADER: lock}
    assert time.monotonic() - began_s < 0.5  # the endpoint that answered is asked first now
    store.close()


def test_a_create_goes_past_an_endpoint_that_takes_no_connection(ways: Ways) -> None:
    store = ways.store(ways.dead_port, ways.second.port)
    assert store.create(Create(LEADER, "a"), TIMEOUT_S).value == "a"
    store.close()


def test_what_was_sent_and_not_answered_is_not_sent_again(ways: Ways) -> None:
    store = ways.store(ways.first.port, ways.second.port)
    sync = store.write(Write(PREFIX + "sync", "0"), TIMEOUT_S)
    attempts: list[Callable[[], object]] = [
        lambda: store.create(Create(LEADER, "a"), TIMEOUT_S),
        lambda: store.write(Write(sync.key, "1", token=sync.token), TIMEOUT_S),
        lambda: store.write(Write(PREFIX + "status", "1"), TIMEOUT_S),
        lambda: store.delete(Delete(LEADER), TIMEOUT_S),
    ]
    for attempt in attempts:
        _make_current(store, ways.first.port)
        ways.first.lose_reply(b"/kv/txn")
        with pytest.raises(DcsUnavailable):
            attempt()
    assert ways.first.replies_lost == len(attempts)
    assert ways.second.requests == 0
    entries = store.read_prefix(ReadPrefix(PREFIX, is_linearizable=True), TIMEOUT_S).entries
    assert {key: found.value for key, found in entries.items()} == {PREFIX + "status": "1", PREFIX + "sync": "1"}
    store.close()


def test_a_watch_moves_to_the_endpoint_that_answers(ways: Ways) -> None:
    """Its own stream is silent and says nothing of it; a renewal that fails there does."""
    store = ways.store(ways.first.port, ways.second.port)
    session, lock = _lock(store, "a")
    watcher = store.watcher(PREFIX)
    _await_in(watcher, lambda snapshot: snapshot.entries == {LEADER: lock})
    ways.first.black_hole()
    store.renew_session(RenewSession(session.id), RENEWAL_S)
    status = store.write(Write(PREFIX + "status", "1"), TIMEOUT_S)
    _await_in(watcher, lambda snapshot: snapshot.entries == {LEADER: lock, status.key: status})
    store.close()


def test_a_name_that_cannot_be_resolved_is_no_answer_in_time() -> None:
    store = etcd3_store({"host": "a..b"})
    attempts: list[Callable[[], object]] = [
        lambda: store.read_prefix(ReadPrefix(PREFIX), 1.0),
        lambda: store.open_session(OpenSession(60.0), 1.0),
        lambda: store.renew_session(RenewSession(SessionId("1")), 1.0),
    ]
    for attempt in attempts:
        began_s = time.monotonic()
        with pytest.raises(DcsUnavailable, match="no endpoint of etcd is known yet"):
            attempt()
        assert time.monotonic() - began_s < 2.0
    store.close()


def test_a_name_is_resolved_before_the_first_answer(member: EtcdMember) -> None:
    store = etcd3_store({"host": f"localhost:{member.proxy.port}"})
    assert store.read_prefix(ReadPrefix("/nothing/"), TIMEOUT_S).entries == {}
    store.close()


# --- three members


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with server_directory("etcd3") as directory, Etcd(directory, size=3) as running:
        yield running


def _leads(member: EtcdMember) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", member.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/v3/maintenance/status", "{}")
        status = json.load(connection.getresponse())
        return bool(status.get("leader") == status["header"]["member_id"])
    finally:
        connection.close()


def _leader_and_others(etcd: Etcd) -> tuple[EtcdMember, list[EtcdMember]]:
    leader = wait_until(lambda: next(filter(_leads, etcd.members), None), PATIENCE_S, "a leader")
    assert leader is not None
    return leader, [member for member in etcd.members if member is not leader]


def _only(*endpoints: str) -> Etcd3Store:
    return etcd3_store({"hosts": list(endpoints), "use_proxies": True})


def _await_lock(store: Etcd3Store, name: str) -> Entry:
    """Win the lock as soon as it is free, as another node does."""
    session = wait_until(lambda: _answer(lambda: store.open_session(OpenSession(60.0), 1.0)), PATIENCE_S, "a session")
    assert session is not None
    won = wait_until(lambda: _answer(lambda: store.create(Create(LEADER, name, session.id), 1.0)), PATIENCE_S, "the lock")
    assert won is not None
    return won


def _answer(ask: Callable[[], T]) -> T | None:
    with suppress(DcsUnavailable, Refused):
        return ask()
    return None


def test_the_members_are_found_and_one_may_die(etcd: Etcd) -> None:
    first = etcd.members[0]
    store = etcd3_store({"host": first.endpoint})
    session, lock = _lock(store, "a")
    wait_until(lambda: len(store._client._endpoints.ordered()) == 3, PATIENCE_S, "all members")
    assert {f"127.0.0.1:{endpoint.port}" for endpoint in store._client._endpoints.ordered()} == set(etcd.endpoints)
    watcher = store.watcher(PREFIX)
    _await_in(watcher, lambda snapshot: snapshot.entries == {LEADER: lock})
    first.process.kill()
    proof = wait_until(lambda: _answer(lambda: _renew(store, session, lock)), PATIENCE_S, "a proof")
    assert proof is not None and proof.entries == {LEADER: lock}
    status = wait_until(lambda: _answer(lambda: store.write(Write(PREFIX + "status", "1"), 2.0)), PATIENCE_S, "a write")
    _await_in(watcher, lambda snapshot: status is not None and snapshot.entries.get(status.key) == status)
    store.close()


def test_a_leader_without_a_majority_proves_nothing(etcd: Etcd) -> None:
    """It goes on answering keepalives for a while; a proof by it alone would be worth nothing."""
    leader, others = _leader_and_others(etcd)
    store = _only(leader.direct_endpoint)
    session, lock = _lock(store, "a")
    assert _renew(store, session, lock).entries == {LEADER: lock}
    for other in others:
        other.process.pause()
    until_s = time.monotonic() + 3.0
    while time.monotonic() < until_s:
        with pytest.raises(DcsUnavailable):
            _renew(store, session, lock)
    for other in others:
        other.process.go_on()
    assert wait_until(lambda: _answer(lambda: _renew(store, session, lock)), PATIENCE_S, "a proof again")
    store.close()


def test_a_deposed_leader_proves_nothing(etcd: Etcd) -> None:
    """It wakes with our keepalive in its queue, while another node holds the lock already."""
    leader, others = _leader_and_others(etcd)
    store, rival = _only(leader.endpoint), _only(*(other.direct_endpoint for other in others))
    session, lock = _lock(store, "a", ttl_s=2.0)
    assert _renew(store, session, lock).entries == {LEADER: lock}
    leader.process.pause()
    won = _await_lock(rival, "b")
    assert won.incarnation != lock.incarnation
    requests = leader.proxy.requests
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(_answer, lambda: store.renew_session(RenewSession(session.id), PATIENCE_S))
        wait_until(lambda: leader.proxy.requests > requests, PATIENCE_S, "the keepalive under way")
        leader.process.go_on()
        renewed = renewing.result(PATIENCE_S) or session
    with pytest.raises((DcsUnavailable, Refused)):
        _prove(store, renewed, lock)
    # Under the witness of now it is an answer, and the answer is no.
    fresh = wait_until(lambda: _answer(lambda: store.open_session(OpenSession(60.0), 1.0)), PATIENCE_S, "a session")
    assert fresh is not None
    with pytest.raises(Refused) as caught:
        _prove(store, replace(session, witness=fresh.witness), lock)
    assert caught.value.why is Refusal.NOT_OURS
    with pytest.raises(Refused) as caught:
        store.renew_session(RenewSession(session.id), RENEWAL_S)
    assert caught.value.why is Refusal.SESSION_GONE
    store.close()
    rival.close()


def test_a_member_that_lags_is_not_believed(etcd: Etcd) -> None:
    """After a newer answer a deposed leader's own reads are none: under the old term, nor under the new one with old data."""
    leader, others = _leader_and_others(etcd)
    reader, writer = _only(leader.direct_endpoint, others[0].endpoint), _only(*(other.direct_endpoint for other in others))
    old = writer.write(Write(PREFIX + "config", "old"), TIMEOUT_S)
    assert reader.read_prefix(ReadPrefix(PREFIX, is_linearizable=True), TIMEOUT_S).entries == {old.key: old}
    leader.process.pause()
    new = wait_until(lambda: _answer(lambda: writer.write(Write(old.key, "new"), 1.0)), PATIENCE_S, "a write")
    assert new is not None
    seen = wait_until(
        lambda: _answer(lambda: reader.read_prefix(ReadPrefix(PREFIX, is_linearizable=True), 4.0)), PATIENCE_S, "a read"
    )
    assert seen is not None and seen.entries == {new.key: new}
    others[0].proxy.refuse()
    others[0].proxy.cut()
    leader.process.go_on()
    again = wait_until(lambda: _answer(lambda: reader.read_prefix(ReadPrefix(PREFIX), 1.0)), PATIENCE_S, "a read")
    assert again is not None and again.entries[new.key].value == "new"
    reader.close()
    writer.close()
