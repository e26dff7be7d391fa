"""The network follows the file of a running agent: address, certificates, credentials, and what others are told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from patroni.agent.event import LocalRead
from patroni.agent.network import Network
from patroni.rest.config import ClientConfig, Credentials, RestConfig
from tests.agent.living import PATIENCE_S, Living, living
from tests.config.builders import built
from tests.support.ports import reserve_port
from tests.support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "rest" / "certificates"


class Bench:
    """A network whose users take everything, or nothing."""

    def __init__(self) -> None:
        self.rest: list[RestConfig] = []
        self.client: list[ClientConfig] = []
        self.is_refusing = False
        self.network = Network(RestConfig(host="127.0.0.1", port=8008), self.use_rest, self.client.append)

    def use_rest(self, config: RestConfig) -> None:
        if self.is_refusing and config.port == 8009:
            raise OSError("restapi.listen: 127.0.0.1:8009: Address already in use")
        self.rest.append(config)

    def follow(self, text: str = "") -> None:
        self.network.follow(built(text))


def test_what_did_not_change_is_left_alone() -> None:
    bench = Bench()
    bench.follow()
    assert bench.rest == []


def test_what_changed_is_used_and_published() -> None:
    bench = Bench()
    bench.follow("{restapi: {listen: '127.0.0.1:8009'}, ctl: {authentication: {username: u, password: p}}}")
    assert [config.port for config in bench.rest] == [8009] == [bench.network.rest.port]
    assert bench.client[-1].credentials == Credentials(username="u", password="p")


def test_a_refused_address_is_not_published_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.is_refusing = True
    bench.follow("{restapi: {listen: '127.0.0.1:8009'}}")
    assert bench.network.rest.port == 8008
    assert "the former settings stay in force: restapi.listen: 127.0.0.1:8009: Address already in use" in caplog.text
    bench.is_refusing = False
    bench.follow("{restapi: {listen: '127.0.0.1:8009'}}")
    assert bench.network.rest.port == 8009


def test_what_came_with_a_refused_address_is_used_at_the_former_one() -> None:
    bench = Bench()
    bench.is_refusing = True
    text = "{restapi: {listen: '127.0.0.1:8009', authentication: {username: u, password: p}}}"
    bench.follow(text)
    assert [(config.port, config.authentication) for config in bench.rest] == [(8008, Credentials(username="u", password="p"))]
    assert bench.network.rest == bench.rest[0]
    bench.is_refusing = False
    bench.follow(text)
    assert bench.network.rest.port == 8009


def test_an_address_that_was_lost_is_tried_again() -> None:
    bench = Bench()
    bench.follow("{restapi: {listen: '127.0.0.1:8009'}}")
    bench.is_refusing = True
    bench.follow("{restapi: {listen: '0.0.0.0:8009'}}")
    bench.is_refusing = False
    bench.rest.clear()
    bench.follow("{restapi: {listen: '127.0.0.1:8009'}}")
    assert [config.host for config in bench.rest] == ["127.0.0.1"]


def test_certificates_are_read_anew_though_nothing_changed() -> None:
    bench = Bench()
    for _ in range(2):
        bench.follow(f"{{restapi: {{certfile: {CERTIFICATES / 'server.pem'}}}}}")
    assert len(bench.rest) == 2


def test_a_file_that_cannot_be_read_is_named_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.follow("{restapi: {certfile: /nowhere/own.pem, listen: '127.0.0.1:8009'}}")
    assert (bench.rest, bench.client) == ([], [])
    assert "restapi.certfile: /nowhere/own.pem: No such file or directory; the former settings" in caplog.text


def test_a_running_agent_moves_to_another_address_and_says_so(tmp_path: Path) -> None:
    with living(str(tmp_path / "data")) as agent:
        port = reserve_port()
        moved(agent, port)
        wait_until(lambda: f"127.0.0.1:{port}/" in published(agent), PATIENCE_S, "the new address", agent.said)
        assert agent.clients


def moved(agent: Living, port: int) -> None:
    local = agent.configuration.local
    values = {**local.values, "restapi": {"listen": f"127.0.0.1:{port}"}}
    agent.agent.post(LocalRead(local=replace(local, values=values)))


def published(agent: Living) -> str:
    return agent.cluster().members["a"].api_url or ""
