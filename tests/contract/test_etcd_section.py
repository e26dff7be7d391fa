"""The sections `etcd` and `etcd3`, the order of endpoints and the limits of tries: no server."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from patroni.agent.clock import now
from patroni.dcs.etcd3 import Etcd3Store
from patroni.dcs.etcd_endpoints import Deadline, Endpoint, Endpoints, resolve, tries_of, try_timeout_s
from patroni.dcs.etcd_section import Address, Credentials, EtcdSection, parse_section
from patroni.dcs.store import StoreConfigError, Timing


def _address(host: str, port: int = 2379, scheme: str = "http") -> Address:
    return Address(scheme=scheme, host=host, port=port)


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({"host": "a"}, (_address("a"),)),
        ({"host": "a:1234"}, (_address("a", 1234),)),
        ({"host": "a", "port": 1234}, (_address("a", 1234),)),
        ({"host": "a", "port": "1234"}, (_address("a", 1234),)),
        ({"host": "[::1]:1234"}, (_address("::1", 1234),)),
        ({"host": "[::1]"}, (_address("::1"),)),
        ({"host": "fe80::1"}, (_address("fe80::1"),)),
        ({"hosts": ["a:1", "b"]}, (_address("a", 1), _address("b"))),
        ({"hosts": "a:1, 'b:2',"}, (_address("a", 1), _address("b", 2))),
        ({"hosts": ["a"], "host": "b"}, (_address("a"),)),
        ({"host": "a", "protocol": "https"}, (_address("a", scheme="https"),)),
        ({"url": "https://a", "hosts": ["b"]}, (_address("a", scheme="https"),)),
        ({"url": "http://[::1]:1234/"}, (_address("::1", 1234),)),
        ({"proxy": "http://a:1", "url": "http://b"}, (_address("a", 1),)),
        ({"host": "a", "unknown": {}}, (_address("a"),)),
    ],
)
def test_addresses(section: Mapping[str, object], wanted: tuple[Address, ...]) -> None:
    assert parse_section("etcd3", section).addresses == wanted


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({"host": "a", "username": "u", "password": "p"}, Credentials(username="u", password="p")),
        ({"host": "a", "username": "u", "password": 123}, Credentials(username="u", password="123")),
        ({"host": "a", "username": "u"}, None),
        ({"url": "http://u:p%40@a"}, Credentials(username="u", password="p@")),
        ({"url": "http://a", "username": "u", "password": "p"}, Credentials(username="u", password="p")),
        ({"url": "http://x:y@a", "username": "u", "password": "p"}, Credentials(username="x", password="y")),
    ],
)
def test_credentials(section: Mapping[str, object], wanted: Credentials | None) -> None:
    assert parse_section("etcd3", section).credentials == wanted


def test_a_password_is_never_shown() -> None:
    assert "geheim" not in repr(parse_section("etcd3", {"host": "a", "username": "u", "password": "geheim"}))


@pytest.mark.parametrize(
    ("section", "wanted"), [({"proxy": "http://a"}, True), ({"host": "a", "use_proxies": "on"}, True), ({"host": "a"}, False)]
)
def test_proxies(section: Mapping[str, object], wanted: bool) -> None:
    assert parse_section("etcd3", section).use_proxies is wanted


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "etcd3: no endpoint: one of `hosts`, `host`, `url` or `proxy` is needed"),
        ({"hosts": []}, "etcd3: no endpoint: one of `hosts`, `host`, `url` or `proxy` is needed"),
        ({"srv": "example.org"}, "etcd3.srv: discovery by SRV records is not supported yet; name the endpoints in `hosts`"),
        ({"host": "a:b"}, "etcd3.host: expected a port from 1 to 65535, got 'b'"),
        ({"host": "a:70000"}, "etcd3.host: expected a port from 1 to 65535, got '70000'"),
        ({"host": ":2379"}, "etcd3.host: expected host:port, got ':2379'"),
        ({"host": "http://a"}, "etcd3.host: expected host:port, got 'http://a'"),
        ({"hosts": [{"a": 1}]}, "etcd3.hosts: expected host:port, got {'a': 1}"),
        ({"hosts": 5}, "etcd3.hosts: expected host:port, or a list of them, got 5"),
        ({"host": "a", "port": 0}, "etcd3.port: expected a port from 1 to 65535, got 0"),
        ({"host": "a", "port": True}, "etcd3.port: expected a port from 1 to 65535, got True"),
        ({"host": "a", "protocol": "ftp"}, "etcd3.protocol: expected http or https, got 'ftp'"),
        ({"host": "a", "use_proxies": "perhaps"}, "etcd3.use_proxies: expected true or false, got 'perhaps'"),
        ({"host": "a", "username": ["u"]}, "etcd3.username: expected a text, got ['u']"),
        ({"url": "a:2379"}, "etcd3.url: expected http://host:port or https://host:port"),
        ({"url": "http://a:x"}, "etcd3.url: expected http://host:port or https://host:port"),
        ({"host": "a", "cacert": "/nowhere/ca"}, "etcd3.cacert: /nowhere/ca: No such file or directory"),
        ({"host": "a", "cert": "/nowhere/c"}, "etcd3.cert: /nowhere/c: No such file or directory"),
        (
            {"host": "a", "cert": "/no/c", "key": "/no/k"},
            "etcd3.cert: /no/c with etcd3.key /no/k: No such file or directory",
        ),
    ],
)
def test_faults_name_their_key(section: Mapping[str, object], message: str) -> None:
    with pytest.raises(StoreConfigError) as caught:
        Etcd3Store(section, timing=Timing(), clock=now)
    assert str(caught.value) == message


def test_defaults() -> None:
    assert parse_section("etcd3", {"host": "a"}) == EtcdSection(addresses=(_address("a"),))


# --- order and limits


def _endpoint(port: int) -> Endpoint:
    return Endpoint(scheme="http", host="127.0.0.1", ip="127.0.0.1", port=port)


A, B, C = _endpoint(1), _endpoint(2), _endpoint(3)


def test_the_current_endpoint_comes_first() -> None:
    endpoints = Endpoints([A, B, C])
    assert endpoints.ordered() == (A, B, C)
    assert endpoints.failed(A)
    assert endpoints.ordered() == (B, C, A)
    assert not endpoints.failed(A)  # not the current one
    assert endpoints.worked(A)
    assert not endpoints.worked(A)
    assert endpoints.ordered() == (A, B, C)


def test_a_new_list_keeps_the_current_endpoint_if_it_can() -> None:
    endpoints = Endpoints([A, B])
    endpoints.worked(B)
    endpoints.replace([C, B, C, A])
    assert endpoints.ordered() == (B, A, C)
    endpoints.replace([C])
    assert endpoints.ordered() == (C,)
    assert not endpoints.worked(A)
    assert not endpoints.failed(C)


def test_no_endpoint_is_known_yet() -> None:
    endpoints = Endpoints([])
    assert endpoints.ordered() == ()
    assert not endpoints.failed(A)
    assert list(endpoints.tries(Deadline(now, 1.0))) == []


@pytest.mark.parametrize(
    ("count", "timeout_s", "tries", "first_s"),
    [
        (1, 10.0, 3, 10 / 3),
        (2, 10.0, 4, 2.5),
        (3, 10.0, 3, 10 / 3),
        (5, 10.0, 5, 2.0),
        (1, 3.0, 3, 1.0),
        (1, 0.5, 3, 0.5),
        (5, 3.0, 5, 1.0),
    ],
)
def test_limits_of_tries(count: int, timeout_s: float, tries: int, first_s: float) -> None:
    """contract/dcs.md §5.5; what a try leaves over goes to the later ones, so all are offered while time is left."""
    assert count * tries_of(count) == tries
    assert try_timeout_s(timeout_s, tries) == pytest.approx(first_s)


def test_tries_go_round_all_endpoints_within_the_deadline() -> None:
    offered = list(Endpoints([A, B]).tries(Deadline(now, 60.0)))
    assert [endpoint for endpoint, _ in offered] == [A, B, A, B]
    assert list(Endpoints([A, B]).tries(Deadline(now, 0.0))) == []


def test_an_address_that_is_an_ip_is_not_looked_up() -> None:
    assert resolve(_address("127.0.0.1", 1)) == (A,)
    assert resolve(_address("::1", 1)) == (Endpoint(scheme="http", host="::1", ip="::1", port=1),)
    assert resolve(_address("0:0::1", 1))[0].ip == "::1"


def test_a_name_may_have_several_addresses_or_none() -> None:
    assert {endpoint.host for endpoint in resolve(_address("localhost"))} == {"localhost"}
    assert resolve(_address("a..b")) == ()


def test_the_host_header_names_the_host() -> None:
    assert A.authority == "127.0.0.1:1"
    assert Endpoint(scheme="http", host="::1", ip="::1", port=1).authority == "[::1]:1"
    assert str(Endpoint(scheme="https", host="a", ip="10.0.0.1", port=1)) == "https://a:1 (10.0.0.1)"
