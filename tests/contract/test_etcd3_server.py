"""etcd v3 on real servers: what it refuses, authentication, foreign values, the watch's cures, TLS."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from patroni.agent.clock import now
from patroni.dcs.etcd3 import Etcd3Store
from patroni.dcs.etcd3_gateway import encode, prefix_range
from patroni.dcs.etcd3_watch import Etcd3Watcher
from patroni.dcs.etcd_endpoints import Deadline
from patroni.dcs.store import (
    Create,
    DcsUnavailable,
    Delete,
    DeletePrefix,
    LockRef,
    OpenSession,
    ProveLock,
    ReadPrefix,
    Refusal,
    Refused,
    RenewSession,
    Session,
    Snapshot,
    StoreConfigError,
    Watcher,
    Write,
)
from patroni.decision.cluster import SessionId, Token
from tests.contract.etcd3_harness import TIMING, etcd3_store
from tests.support.directories import server_directory
from tests.support.etcd import Etcd, EtcdMember
from tests.support.ports import reserve_port
from tests.support.process import Process
from tests.support.program import find_program
from tests.support.waiting import wait_until

TIMEOUT_S = 5.0
PREFIX = "/service/batman/"
LEADER = PREFIX + "leader"


@pytest.fixture(scope="module")
def member() -> Iterator[EtcdMember]:
    with server_directory("etcd3") as directory, Etcd(directory) as etcd:
        yield etcd.members[0]


@pytest.fixture
def store(member: EtcdMember) -> Iterator[Etcd3Store]:
    made = etcd3_store({"host": member.endpoint})
    made.delete_prefix(DeletePrefix(PREFIX), TIMEOUT_S)
    yield made
    made.close()


def _raw(endpoint: str, path: str, body: object, token: str | None = None) -> dict[str, object]:
    """Ask a server as an operator would, beside the store."""
    host, _, port = endpoint.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"/v3{path}", json.dumps(body), {"authorization": token} if token else {})
        answer: dict[str, object] = json.load(connection.getresponse())
        return answer
    finally:
        connection.close()


def test_a_lease_that_never_was(store: Etcd3Store) -> None:
    session = SessionId("12345")
    for attempt in (
        lambda: store.renew_session(RenewSession(session), TIMEOUT_S),
        lambda: store.create(Create(LEADER, "a", session), TIMEOUT_S),
        lambda: store.write(Write(LEADER, "a", session), TIMEOUT_S),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.why is Refusal.SESSION_GONE
    assert not store.read_prefix(ReadPrefix(PREFIX), TIMEOUT_S).entries


def test_a_value_that_is_too_large_is_denied(store: Etcd3Store) -> None:
    with pytest.raises(Refused, match="too large") as caught:
        store.write(Write(PREFIX + "history", "x" * 1_600_000), TIMEOUT_S)
    assert caught.value.why is Refusal.DENIED


def test_a_foreign_value_is_read_and_replaced(store: Etcd3Store, member: EtcdMember) -> None:
    _raw(member.direct_endpoint, "/kv/put", {"key": encode(PREFIX + "status"), "value": "//79"})
    watcher = store.watcher(PREFIX)
    first = watcher.next(TIMEOUT_S)
    assert first is not None
    entry = first.entries[PREFIX + "status"]
    assert "\ufffd" in entry.value
    assert store.write(Write(entry.key, "{}", token=entry.token), TIMEOUT_S).value == "{}"
    watcher.close()


def test_a_session_tells_the_revision_of_the_store(store: Etcd3Store) -> None:
    session = store.open_session(OpenSession(60.0), TIMEOUT_S)
    written = store.write(Write(PREFIX + "status", "1"), TIMEOUT_S)
    assert session.revision is not None and written.revision == session.revision + 1
    assert store.renew_session(RenewSession(session.id), TIMEOUT_S).revision == written.revision


# --- the watch


def _first(watcher: object) -> Snapshot:
    assert isinstance(watcher, Etcd3Watcher)
    snapshot = watcher.next(TIMEOUT_S)
    assert snapshot is not None
    return snapshot


def test_a_refused_compare_and_set_makes_the_watch_begin_anew(store: Etcd3Store) -> None:
    watcher = store.watcher(PREFIX)
    entry = store.write(Write(PREFIX + "sync", "0"), TIMEOUT_S)
    assert _first(watcher).entries == {entry.key: entry}
    with pytest.raises(Refused):
        store.delete(Delete(entry.key, Token("1")), TIMEOUT_S)
    anew = watcher.next(TIMEOUT_S)  # at once, though nothing changed
    assert anew is not None and anew.is_linearizable and anew.entries == {entry.key: entry}
    assert watcher.next(0.1) is None
    watcher.close()


def test_a_broken_stream_begins_anew_in_the_same_call(store: Etcd3Store, member: EtcdMember) -> None:
    watcher = store.watcher(PREFIX)
    assert not _first(watcher).entries
    member.proxy.cut()
    anew = watcher.next(TIMEOUT_S)
    assert anew is not None and anew.is_linearizable
    entry = store.write(Write(PREFIX + "sync", "0"), TIMEOUT_S)
    seen = watcher.next(TIMEOUT_S)
    assert seen is not None and seen.entries == {entry.key: entry} and not seen.is_linearizable
    watcher.close()


def test_a_compacted_start_cancels_the_watch(store: Etcd3Store, member: EtcdMember) -> None:
    """The copy began before a compaction and the stream after it; only a new beginning helps."""
    watcher = store.watcher(PREFIX)
    assert isinstance(watcher, Etcd3Watcher)
    store.write(Write(PREFIX + "status", "1"), TIMEOUT_S)
    entry = store.write(Write(PREFIX + "status", "2"), TIMEOUT_S)
    _raw(member.direct_endpoint, "/kv/compaction", {"revision": str(entry.revision)})
    with suppress(DcsUnavailable):  # the cancellation comes with the stream's first message, or right after it
        watcher._follow(1, Deadline(now, TIMEOUT_S))
    snapshot = _first(watcher)
    assert snapshot.is_linearizable and snapshot.entries == {entry.key: entry}
    watcher.close()


def test_many_events_at_once_are_one_moment(store: Etcd3Store, member: EtcdMember) -> None:
    """A transaction of several keys is never seen half done."""
    watcher = store.watcher(PREFIX)
    _first(watcher)
    puts = [{"request_put": {"key": encode(f"{PREFIX}members/{n}"), "value": encode("x" * 10_000)}} for n in range(60)]
    _raw(member.direct_endpoint, "/kv/txn", {"success": puts})
    snapshot = watcher.next(TIMEOUT_S)
    assert snapshot is not None and len(snapshot.entries) == 60
    _raw(member.direct_endpoint, "/kv/deleterange", prefix_range(PREFIX))
    snapshot = watcher.next(TIMEOUT_S)
    assert snapshot is not None and not snapshot.entries
    watcher.close()


def test_a_closed_watcher_says_nothing_more(store: Etcd3Store) -> None:
    watcher = store.watcher(PREFIX)
    _first(watcher)
    watcher.close()
    watcher.close()
    assert watcher.next(TIMEOUT_S) is None


# --- a server of its own for what changes the server


def test_a_store_made_anew_under_the_same_name_is_followed() -> None:
    """Its cluster id is the same and its raft term is lower: what renewals can't believe, a linearizable read settles."""
    with server_directory("etcd3") as directory, Etcd(directory) as etcd:
        member = etcd.members[0]
        store = etcd3_store({"host": member.endpoint})
        session = store.open_session(OpenSession(60.0), TIMEOUT_S)
        lock = store.create(Create(LEADER, "a", session.id), TIMEOUT_S)
        watcher = store.watcher(PREFIX)
        before = _first(watcher)
        member.restart()
        _await_answer(store)
        member.process.kill()
        shutil.rmtree(member.directory / "data")
        member.restart()
        _await_in(watcher, lambda snapshot: not snapshot.entries)
        with pytest.raises(Refused) as caught:
            store.renew_session(RenewSession(session.id), TIMEOUT_S)
        assert caught.value.why is Refusal.SESSION_GONE
        after = store.read_prefix(ReadPrefix(PREFIX, is_linearizable=True), TIMEOUT_S)
        assert after.store_id == before.store_id
        assert after.revision is not None and lock.revision is not None and after.revision < lock.revision
        store.close()


def _await_in(watcher: Watcher, is_wanted: Callable[[Snapshot], bool]) -> None:
    def look() -> bool:
        with suppress(DcsUnavailable):
            snapshot = watcher.next(1.0)
            return snapshot is not None and is_wanted(snapshot)
        return False

    wait_until(look, 30.0, "the change in the watch")


def _fill(store: Etcd3Store) -> None:
    for number in range(20):
        store.write(Write(f"{PREFIX}fill/{number}", "x" * 1_000_000), TIMEOUT_S)


def test_a_full_database_keeps_the_lock_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """contract/dcs.md §7.6: renewals, proofs and deletes go on, writes are denied."""
    with server_directory("etcd3") as directory:
        etcd = Etcd(directory)
        etcd.members[0].process.arguments.append(f"--quota-backend-bytes={4 * 1024 * 1024}")
        with etcd:
            store = etcd3_store({"host": etcd.members[0].endpoint})
            session = store.open_session(OpenSession(60.0), TIMEOUT_S)
            lock = store.create(Create(LEADER, "a", session.id), TIMEOUT_S)
            with pytest.raises(Refused, match="database space exceeded") as caught:
                _fill(store)
            assert caught.value.why is Refusal.DENIED
            session = store.renew_session(RenewSession(session.id), TIMEOUT_S)
            ref = LockRef(key=LEADER, incarnation=lock.incarnation)
            proof = store.prove_lock(ProveLock(lock=ref, session=session, prefix=LEADER), TIMEOUT_S)
            assert proof.entries == {LEADER: lock}
            store.delete(Delete(LEADER, lock.token), TIMEOUT_S)
            store.close()
    warnings = [record.message for record in caplog.records if "a deposed leader goes on answering renewals" in record.message]
    assert len(warnings) <= 1


def _enable_authentication(endpoint: str) -> None:
    prefix = {"permType": "READWRITE", **prefix_range(PREFIX)}
    for path, body in (
        ("/auth/user/add", {"name": "root", "password": "r"}),
        ("/auth/role/add", {"name": "root"}),
        ("/auth/user/grant", {"user": "root", "role": "root"}),
        ("/auth/user/add", {"name": "agent", "password": "right"}),
        ("/auth/role/add", {"name": "batman"}),
        ("/auth/role/grant", {"name": "batman", "perm": {**prefix, "key": prefix["key"]}}),
        ("/auth/user/grant", {"user": "agent", "role": "batman"}),
        ("/auth/enable", {}),
    ):
        answer = _raw(endpoint, path, body)
        assert "error" not in answer, (path, answer)


def _prove(store: Etcd3Store, session: Session, lock: LockRef) -> Snapshot:
    session = store.renew_session(RenewSession(session.id), TIMEOUT_S)
    return store.prove_lock(ProveLock(lock=lock, session=session, prefix=PREFIX), TIMEOUT_S)


def test_authentication() -> None:
    """Enabled at run time; the server's tokens are lost; the password is wrong, missing, then right again."""
    with server_directory("etcd3") as directory, Etcd(directory) as etcd:
        member = etcd.members[0]
        section: dict[str, object] = {"host": member.endpoint, "username": "agent", "password": "right"}
        store = etcd3_store(section)
        session = store.open_session(OpenSession(60.0), TIMEOUT_S)
        lock = store.create(Create(LEADER, "a", session.id), TIMEOUT_S)
        ref = LockRef(key=LEADER, incarnation=lock.incarnation)
        watcher = store.watcher(PREFIX)
        assert _first(watcher).entries == {LEADER: lock}

        _enable_authentication(member.direct_endpoint)
        assert _prove(store, session, ref).entries == {LEADER: lock}
        written = store.write(Write(LEADER, "b", session.id, lock.token), TIMEOUT_S)

        member.restart()  # simple tokens live in its memory
        _await_answer(store)
        assert _prove(store, session, ref).entries == {LEADER: written}
        member.proxy.cut()
        assert _first(watcher).entries == {LEADER: written}

        with pytest.raises(Refused, match="permission denied") as caught:
            store.create(Create("/elsewhere/leader", "a"), TIMEOUT_S)
        assert caught.value.why is Refusal.DENIED
        with pytest.raises(DcsUnavailable, match="permission denied"):
            store.read_prefix(ReadPrefix("/elsewhere/"), TIMEOUT_S)

        anonymous: dict[str, object] = {"host": member.endpoint}
        for wrong, words in (
            (section | {"password": "wrong"}, "authentication failed"),
            (anonymous, "user name is empty"),
        ):
            other = etcd3_store(wrong)
            with pytest.raises(Refused, match=words):
                other.create(Create(PREFIX + "config", "{}"), TIMEOUT_S)
            with pytest.raises(DcsUnavailable, match=words):  # no renewal is ever refused for this
                other.prove_lock(ProveLock(lock=ref, session=session, prefix=PREFIX), TIMEOUT_S)
            watching = other.watcher(PREFIX)
            with pytest.raises(DcsUnavailable, match=words):
                watching.next(TIMEOUT_S)
            other.reload(section)
            if "username" in wrong:
                assert other.read_prefix(ReadPrefix(PREFIX), TIMEOUT_S).entries == {LEADER: written}
            other.close()
        store.close()


def _await_answer(store: Etcd3Store) -> None:
    def answers() -> bool:
        try:
            store.read_prefix(ReadPrefix(PREFIX), TIMEOUT_S)
        except DcsUnavailable:
            return False
        return True

    wait_until(answers, 30.0, "an answer")


def test_tls() -> None:
    """The certificate is checked against the authority and against the host, though an IP is connected to."""
    with server_directory("etcd3") as directory:
        port, peer = reserve_port(), f"https://127.0.0.1:{reserve_port()}"
        arguments = [
            find_program("etcd"),
            f"--data-dir={directory / 'data'}",
            f"--listen-client-urls=https://127.0.0.1:{port}",
            f"--advertise-client-urls=https://127.0.0.1:{port}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--auto-tls",
            "--peer-auto-tls",
        ]
        with Process(arguments, directory) as process:
            certificate = directory / "data" / "fixtures" / "client" / "cert.pem"
            process.wait_for(certificate.exists, 30.0, "its certificate")
            store = etcd3_store({"host": f"127.0.0.1:{port}", "protocol": "https", "cacert": str(certificate)})
            _await_answer(store)
            watcher = store.watcher(PREFIX)
            assert not _first(watcher).entries
            entry = store.write(Write(PREFIX + "config", "x" * 100_000), TIMEOUT_S)
            seen = watcher.next(TIMEOUT_S)
            assert seen is not None and seen.entries == {entry.key: entry}
            store.close()
            _check_not_trusted({"host": f"127.0.0.1:{port}", "protocol": "https"})
            _check_not_trusted({"host": f"localhost:{port}", "protocol": "https", "cacert": str(certificate)})


def _check_not_trusted(section: dict[str, object]) -> None:
    store = Etcd3Store(section | {"use_proxies": True}, timing=TIMING, clock=now)
    with pytest.raises(DcsUnavailable, match="certificate"):
        store.read_prefix(ReadPrefix(PREFIX), TIMEOUT_S)
    watcher = store.watcher(PREFIX)
    with pytest.raises(DcsUnavailable):
        watcher.next(TIMEOUT_S)
    store.close()


def test_a_missing_file_is_a_fault_of_the_section(tmp_path: Path) -> None:
    torn = tmp_path / "ca.pem"
    torn.write_text("torn")
    with pytest.raises(StoreConfigError, match=r"^etcd3\.cacert: "):
        etcd3_store({"host": "127.0.0.1", "cacert": str(torn)})
