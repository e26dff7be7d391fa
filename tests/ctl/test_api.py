"""The REST client: verification, retries, and that every call ends (contract/cli.md §2.4)."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from patroni.config.sections import ClientSection
from patroni.ctl.api import ApiClient, ApiRequest, ApiUnreachable
from patroni.decision.cluster import Member
from patroni.rest.config import TlsConfig, VerifyClient
from tests.rest.serving import an_agent, served
from tests.support.ports import reserve_port

CERTIFICATES = Path(__file__).parents[1] / "rest" / "certificates"
CA, SERVER, CLIENT = (str(CERTIFICATES / f"{name}.pem") for name in ("ca", "server", "client"))


def a_member(url: str | None) -> Member:
    return Member(name="pg-a", api_url=url)


def status(client: ApiClient, url: str) -> object:
    """Return the name in the status document that a real agent's API gives."""
    answer = client.call(a_member(url), ApiRequest(endpoint="patroni"))
    return (answer.status, "patroni" in json.loads(answer.text))


@pytest.mark.parametrize(
    ("section", "is_insecure", "host", "is_answered"),
    [
        pytest.param(ClientSection(), False, "localhost", False, id="unknown authority"),
        pytest.param(ClientSection(cacert=CA), False, "localhost", True, id="verified"),
        pytest.param(ClientSection(), True, "localhost", True, id="-k"),
        pytest.param(ClientSection(insecure=True), False, "localhost", True, id="ctl.insecure"),
        pytest.param(ClientSection(certfile=CLIENT), True, "localhost", False, id="-k with a certificate checks the chain"),
        pytest.param(ClientSection(certfile=CLIENT, cacert=CA), True, "localhost", True, id="-k with a certificate and its CA"),
    ],
)
def test_verification(section: ClientSection, is_insecure: bool, host: str, is_answered: bool) -> None:
    with served(an_agent(), tls=TlsConfig(certfile=SERVER, cafile=CA)) as port:
        url, client = f"https://{host}:{port}/patroni", ApiClient(section, is_insecure=is_insecure)
        if is_answered:
            assert status(client, url) == (200, True)
        else:
            with pytest.raises(ApiUnreachable, match="pg-a"):
                status(client, url)
        client.close()


def test_a_client_certificate_is_shown() -> None:
    with served(an_agent(), tls=TlsConfig(certfile=SERVER, cafile=CA, verify_client=VerifyClient.REQUIRED)) as port:
        client = ApiClient(ClientSection(cacert=CA, certfile=CLIENT), is_insecure=False)
        assert status(client, f"https://localhost:{port}/patroni") == (200, True)
        client.close()


@pytest.mark.parametrize("url", [None, "nonsense", "ftp://h/", "http://[x/", "http://h:x/"])
def test_no_address(url: str | None) -> None:
    with pytest.raises(ApiUnreachable, match="pg-a"):
        ApiClient(ClientSection(), is_insecure=False).call(a_member(url), ApiRequest(endpoint="patroni"))


def test_nobody_listens() -> None:
    with pytest.raises(ApiUnreachable, match="pg-a"):
        ApiClient(ClientSection(), is_insecure=False).call(a_member(f"http://127.0.0.1:{reserve_port()}/"), ApiRequest())


def test_one_who_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        member = a_member(f"http://127.0.0.1:{silent.getsockname()[1]}/patroni")
        client = ApiClient(ClientSection(), is_insecure=False)
        with pytest.raises(ApiUnreachable, match="timed out"):
            client.call(member, ApiRequest(answer_s=0.1))
        client.close()


def test_certificates_that_cannot_be_read() -> None:
    with pytest.raises(OSError, match="No such file"):
        ApiClient(ClientSection(cacert="/nonexistent"), is_insecure=False)
