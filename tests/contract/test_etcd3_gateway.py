"""etcd v3 without a server: the codec, the shapes of errors and what they mean, versions, terms, pieces of a stream."""

from __future__ import annotations

import json

import pytest

from patroni.dcs.etcd3_client import StaleGuard, Trust
from patroni.dcs.etcd3_gateway import (
    Code,
    EtcdError,
    Header,
    Json,
    encode,
    entry_of,
    header_of,
    parse_answer,
    prefix_range,
    put,
    require_no_error,
    version_of,
)
from patroni.dcs.etcd3_watch import Messages
from patroni.dcs.store import DcsUnavailable, Refusal
from patroni.decision.cluster import Revision


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("/service/batman/", "/service/batman0"),
        ("a", "b"),
        ("é", b"\xc3\xaa"),
    ],
)
def test_a_prefix_ends_before_its_last_byte_plus_one(prefix: str, end: str | bytes) -> None:
    wanted = encode(end) if isinstance(end, str) else "w6o="
    assert prefix_range(prefix) == {"key": encode(prefix), "range_end": wanted}


def test_no_prefix_is_the_whole_store() -> None:
    with pytest.raises(ValueError, match="whole store"):
        prefix_range("")


def test_a_put_without_a_session_makes_permanent() -> None:
    assert put("k", "", None) == {"request_put": {"key": "aw==", "value": ""}}


def test_an_entry_with_all_fields() -> None:
    entry = entry_of(
        {"key": encode("/a/b"), "create_revision": "2", "mod_revision": "9", "version": "3", "value": "YQ==", "lease": "77"}
    )
    assert (entry.key, entry.value, entry.token, entry.incarnation, entry.revision) == ("/a/b", "a", "9", "2", 9)
    assert entry.session == "77"


def test_an_entry_without_value_and_lease() -> None:
    entry = entry_of({"key": encode("k"), "create_revision": "2", "mod_revision": "2"})
    assert (entry.value, entry.session) == ("", None)


def test_a_value_that_is_no_text_is_foreign_and_no_failure() -> None:
    assert entry_of({"key": "aw==", "create_revision": "1", "mod_revision": "1", "value": "//4="}).value == "\ufffd\ufffd"


@pytest.mark.parametrize(
    "kv",
    [
        {},
        {"key": "aw=="},
        {"key": "aw==", "create_revision": "1", "mod_revision": "x"},
        {"key": "%%", "create_revision": "1", "mod_revision": "1"},
        {"key": 5, "create_revision": "1", "mod_revision": "1"},
    ],
    ids=["nothing", "no revision", "no number", "no base64", "no text"],
)
def test_a_torn_entry_is_no_answer(kv: Json) -> None:
    with pytest.raises(DcsUnavailable):
        entry_of(kv)


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (404, '{"error":"etcdserver: requested lease not found","code":5}', 5, "etcdserver: requested lease not found"),
        (403, '{"error":"no","message":"no","code":7}', 7, "no"),
        (400, '{"code":3,"message":"bad","details":[]}', 3, "bad"),
        (200, '{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}', 14, "etcdserver: no leader"),
        (200, '{"error":{"code":11,"http_code":400,"message":"out of range"}}', 11, "out of range"),
        (400, '{"Error":"bad","Code":3}', 3, "bad"),
        (500, '{"error":"not a primary lessor","code":2}', 14, "not a primary lessor"),
        (503, '{"error":"etcdserver: request timed out"}', 14, "etcdserver: request timed out"),
        (500, "{}", 2, "status 500"),
    ],
)
def test_every_shape_of_an_error(status: int, body: str, code: int, text: str) -> None:
    with pytest.raises(EtcdError) as caught:
        parse_answer(status, body.encode())
    assert (caught.value.code, caught.value.text) == (code, text)


@pytest.mark.parametrize("status", [200, 404, 502])
@pytest.mark.parametrize("body", ["", "Not Found\n", "<html>", "[1]", '{"torn":', "\xff"])
def test_what_is_not_of_etcd_is_no_answer(status: int, body: str) -> None:
    with pytest.raises(DcsUnavailable):
        parse_answer(status, body.encode("latin-1"))


@pytest.mark.parametrize(
    ("code", "text", "refusal"),
    [
        (Code.NOT_FOUND, "etcdserver: requested lease not found", Refusal.SESSION_GONE),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Refusal.DENIED),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", Refusal.DENIED),
        (Code.UNAUTHENTICATED, "etcdserver: invalid auth token", Refusal.DENIED),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", Refusal.DENIED),
        (Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", Refusal.DENIED),
        (Code.UNAVAILABLE, "etcdserver: no leader", None),
        (Code.UNAVAILABLE, "etcdserver: request timed out", None),
        (Code.DEADLINE_EXCEEDED, "context deadline exceeded", None),
        (Code.FAILED_PRECONDITION, "etcdserver: whatever", None),
        (Code.CANCELED, "context canceled", None),
        (Code.UNKNOWN, "strange", None),
        (Code.INTERNAL, "stranger", None),
        (Code.DATA_LOSS, "etcdserver: corrupt", None),
    ],
)
def test_which_errors_say_no_and_which_say_nothing(code: int, text: str, refusal: Refusal | None) -> None:
    error = EtcdError(code, text)
    assert error.is_silence is (refusal is None)
    if refusal is not None:
        assert error.refusal().why is refusal


@pytest.mark.parametrize(
    ("text", "is_cured"),
    [
        ("etcdserver: user name is empty", True),
        ("etcdserver: invalid auth token", True),
        ("etcdserver: revision of auth store is old", True),
        ("etcdserver: permission denied", True),
        ("etcdserver: authentication failed, invalid user ID or password", False),
        ("etcdserver: authentication is not enabled", False),
    ],
)
def test_which_errors_a_login_cures(text: str, is_cured: bool) -> None:
    assert EtcdError(Code.INVALID_ARGUMENT, text).is_cured_by_login is is_cured


@pytest.mark.parametrize(
    ("cluster", "server", "prefix", "has_stale_leases"),
    [
        ("3.2.0", "3.2.32", None, True),
        ("3.3.0", "3.3.27", "/v3beta", True),
        ("3.4.0", "3.4.30", "/v3", True),
        ("3.4.0", "3.4.31", "/v3", False),
        ("3.5.0", "3.5.0-rc.1", "/v3", True),
        ("3.5.0", "3.5.12", "/v3", True),
        ("3.5.0", "3.5.13", "/v3", False),
        ("3.6.0", "3.6.0", "/v3", False),
        ("4.0.0", "4.0.0", "/v3", False),
    ],
)
def test_versions(cluster: str, server: str, prefix: str | None, has_stale_leases: bool) -> None:
    version = version_of({"etcdserver": server, "etcdcluster": cluster})
    assert (version.path_prefix, version.has_stale_leases) == (prefix, has_stale_leases)


def test_a_version_that_is_none_is_no_answer() -> None:
    with pytest.raises(DcsUnavailable):
        version_of({"etcdserver": "not_decided", "etcdcluster": None})


def test_a_header_without_a_revision() -> None:
    assert header_of({"header": {"cluster_id": "1", "raft_term": "2"}}) == Header(cluster_id="1", raft_term=2, revision=None)
    assert header_of({}) is None
    with pytest.raises(DcsUnavailable):
        header_of({"header": {"raft_term": "x"}})


def _header(term: int, revision: int | None = None, cluster_id: str = "1") -> Header:
    return Header(cluster_id=cluster_id, raft_term=term, revision=None if revision is None else Revision(revision))


def test_a_term_never_goes_back() -> None:
    guard = StaleGuard()
    assert [guard.admit(_header(term)) for term in (5, 5, 6)] == [False, False, True]
    with pytest.raises(DcsUnavailable, match="raft term 5, seen 6"):
        guard.admit(_header(5))
    assert not guard.admit(_header(6))


def test_the_revision_of_a_copy_never_goes_back() -> None:
    guard = StaleGuard()
    guard.admit(_header(5, 10))
    guard.admit(_header(5, 8))  # of a keepalive: its member may lag a little
    guard.admit(_header(5))  # of a member list
    with pytest.raises(DcsUnavailable, match="revision 9, seen 10"):
        guard.admit(_header(6, 9), Trust.COPY)
    guard.admit(_header(6, 10), Trust.COPY)


def test_a_linearizable_read_is_believed_even_of_a_restored_store() -> None:
    guard = StaleGuard()
    guard.admit(_header(6, 10))
    assert guard.admit(_header(2, 1), Trust.PROVED)
    assert not guard.admit(_header(2, 1), Trust.COPY)


def test_another_cluster_begins_with_its_own_term() -> None:
    guard = StaleGuard()
    guard.admit(_header(6, 10))
    assert guard.admit(_header(2, 1, "other"), Trust.COPY)
    with pytest.raises(DcsUnavailable):
        guard.admit(_header(1, 1, "other"))


def test_a_stream_may_be_cut_anywhere() -> None:
    sent: list[Json] = [{"result": {"created": True}}, {"result": {"events": [{"kv": {"key": "{}"}}]}}, {"error": "é{"}]
    stream = "\n".join(json.dumps(message, ensure_ascii=False) for message in sent).encode() + b"\n"
    for length in (1, 2, 3, 7, len(stream)):
        messages = Messages()
        pieces = [stream[start : start + length] for start in range(0, len(stream), length)]
        assert [message for piece in pieces for message in messages.feed(piece)] == sent


@pytest.mark.parametrize("piece", [b"<html>", b"\xff\xfe", b"null\n"])
def test_a_stream_that_is_not_of_etcd_is_broken(piece: bytes) -> None:
    with pytest.raises(DcsUnavailable):
        Messages().feed(piece)


def test_an_answer_without_an_error_is_none() -> None:
    require_no_error({"header": {}})
    require_no_error({"result": {"error": "of a key named so"}})
