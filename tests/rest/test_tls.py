"""TLS: the three ways to treat client certificates (contract/rest_api.md §5, §4), and our own client (§13.4)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from patroni.decision.view import Answer, Silent
from patroni.rest.client import PeerClient
from patroni.rest.config import ClientConfig, RestConfig, TlsConfig, VerifyClient
from patroni.rest.server import RestServer
from patroni.rest.service import Limits
from tests.rest.builders import RealClock
from tests.rest.serving import HOST, PATIENCE_S, an_agent, connected, served, until_end

CERTIFICATES = Path(__file__).parent / "certificates"
CA, SERVER, CLIENT, STRANGER = (str(CERTIFICATES / f"{name}.pem") for name in ("ca", "server", "client", "stranger"))


def tls(verify: VerifyClient = VerifyClient.NONE) -> TlsConfig:
    return TlsConfig(certfile=SERVER, cafile=CA, verify_client=verify)


def exchange(port: int, request: bytes, certificate: str | None = None) -> bytes:
    """Send bytes over TLS; return all until the end, b"" if the server does not want us."""
    context = ssl.create_default_context(cafile=CA)
    if certificate:
        context.load_cert_chain(certificate)
    try:
        with connected(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(request)
            return until_end(client)
    except ssl.SSLError:
        return b""


@pytest.mark.parametrize(
    ("verify", "certificate", "get", "delete"),
    [
        (VerifyClient.NONE, None, b"200", b"501"),
        (VerifyClient.NONE, CLIENT, b"200", b"501"),
        (VerifyClient.OPTIONAL, None, b"200", b"403"),
        (VerifyClient.OPTIONAL, CLIENT, b"200", b"501"),
        (VerifyClient.OPTIONAL, STRANGER, b"", b""),
        (VerifyClient.REQUIRED, None, b"", b""),
        (VerifyClient.REQUIRED, CLIENT, b"200", b"501"),
        (VerifyClient.REQUIRED, STRANGER, b"", b""),
    ],
)
def test_client_certificates(verify: VerifyClient, certificate: str | None, get: bytes, delete: bytes) -> None:
    with served(an_agent(), tls=tls(verify)) as port:
        for request, then in ((b"GET /liveness HTTP/1.0\r\n\r\n", get), (b"DELETE /restart HTTP/1.0\r\n\r\n", delete)):
            answer = exchange(port, request, certificate)
            assert answer[9:12] == then


def test_extra_headers_of_tls_win() -> None:
    with served(an_agent(), tls=tls(), http_extra_headers={"X-A": "1", "X-B": "2"}, https_extra_headers={"X-A": "3"}) as port:
        answer = exchange(port, b"GET /patroni HTTP/1.0\r\n\r\n")
        assert b"\r\nX-A: 3\r\nX-B: 2\r\n" in answer


def test_plain_http_is_closed_silently_and_a_slow_handshake_blocks_nobody() -> None:
    with served(an_agent(), Limits(request_s=2.0), tls=tls()) as port, connected(port) as silent:
        with connected(port) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert not until_end(plain).startswith(b"HTTP")
        assert exchange(port, b"OPTIONS / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\n"
        assert until_end(silent) == b""


def test_a_certificate_that_is_missing_is_named() -> None:
    with pytest.raises(OSError, match=r"No such file|nowhere"):
        RestServer(RestConfig(host=HOST, port=0, tls=TlsConfig(certfile="/nowhere.pem")), an_agent().ports())


@pytest.mark.parametrize(
    ("config", "verify", "then"),
    [
        (ClientConfig(), VerifyClient.NONE, Answer),
        (ClientConfig(), VerifyClient.REQUIRED, Silent),
        (ClientConfig(certfile=CLIENT, cacert=CA), VerifyClient.REQUIRED, Answer),
        (ClientConfig(certfile=CLIENT, cacert=STRANGER), VerifyClient.NONE, Silent),
        (ClientConfig(certfile=STRANGER, cacert=CA), VerifyClient.OPTIONAL, Silent),
    ],
)
def test_client(config: ClientConfig, verify: VerifyClient, then: type[object]) -> None:
    """Without a client certificate the server's is not verified; with one its chain is, its name never."""
    with served(an_agent(), tls=tls(verify)) as port:
        client = PeerClient(config, "0.1.0", RealClock())
        assert type(client.ask_peer(f"https://{HOST}:{port}/patroni", PATIENCE_S)) is then
        client.close()


def test_client_does_not_check_the_host_name() -> None:
    with served(an_agent(), tls=tls(), host="127.0.0.2") as port:
        client = PeerClient(ClientConfig(certfile=CLIENT, cacert=CA), "0.1.0", RealClock())
        assert isinstance(client.ask_peer(f"https://127.0.0.2:{port}/patroni", PATIENCE_S), Answer)
        client.close()


def test_client_of_plain_http_on_a_tls_port() -> None:
    with served(an_agent(), Limits(request_s=1.0), tls=tls()) as port:
        client = PeerClient(ClientConfig(), "0.1.0", RealClock())
        assert isinstance(client.ask_peer(f"http://{HOST}:{port}/patroni", PATIENCE_S), Silent)
        client.close()


@pytest.mark.parametrize("config", [ClientConfig(certfile="/nowhere.pem"), ClientConfig(cacert="/nowhere.pem")])
def test_client_whose_certificate_is_missing(config: ClientConfig) -> None:
    with pytest.raises(OSError, match=r"No such file"):
        PeerClient(config, "0.1.0", RealClock())
