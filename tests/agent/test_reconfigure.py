"""Reconfigure: who is told when the config key or the file changes; a change that cannot be used leaves all as it was."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from patroni.agent.configure import postgres_config
from patroni.agent.logs import Logs
from patroni.agent.reconfigure import Reconfigurer, Users, timing_of
from patroni.agent.shared import Shared
from patroni.config.environment import Environment
from patroni.config.load import CACHE, Local, load_local, read_cache
from patroni.config.sections import StoreSection
from patroni.config.settings import build
from patroni.dcs.memory import MemoryServer, MemoryStore
from patroni.dcs.store import StoreConfigError, Timing
from patroni.decision.cluster import Cluster, DynamicConfig, Token
from patroni.decision.settings import Settings
from patroni.postgres.config import PostgresConfig
from patroni.postgres.driver import Driver
from tests.agent.builders import at
from tests.config.builders import a_tree

DYNAMIC: dict[str, object] = {"ttl": 30, "loop_wait": 10}


class TimedStore(MemoryStore):
    """A store that remembers the timing and the sections it was given."""

    timing: Timing | None = None

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.sections: list[Mapping[str, object]] = []

    def set_timing(self, timing: Timing) -> None:
        self.timing = timing

    def reload(self, section: Mapping[str, object]) -> None:
        self.sections.append(section)
        if "bad" in section:
            raise StoreConfigError("etcd3.bad: no")


class Bench:
    """A configuration in a file, and all who use it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "patroni.yml"
        self.data_dir = directory / "data"
        self.data_dir.mkdir(mode=0o700)
        self.write()
        configuration = build(load_local(str(self.file), Environment()), DYNAMIC)
        self.store = TimedStore(MemoryServer(lambda: at(0.0)))
        self.driver = Driver(postgres_config(configuration), time.monotonic)
        self.shared = Shared(settings=configuration.settings, dynamic_configuration=configuration.dynamic.values)
        users = Users(shared=self.shared, driver=self.driver, store=self.store, logs=Logs())
        self.reconfigurer = Reconfigurer(configuration, users)

    def write(self, text: str = "") -> None:
        self.file.write_text(yaml.safe_dump(a_tree(text)))

    def reread(self) -> bool:
        """Read the file again and take it over; return whether Postgres must be reloaded."""
        local = self.reconfigurer.read()
        return local is not None and self.reconfigurer.take_local(local)

    def view(self, values: object) -> bool:
        """Take over a view whose config key holds this."""
        config = DynamicConfig(values=values if isinstance(values, dict) else None, token=Token("1"))
        return self.reconfigurer.take_view(Cluster(config=config))

    @property
    def used(self) -> PostgresConfig:
        return self.driver._server.config

    @property
    def cache(self) -> Path:
        return self.data_dir / CACHE


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- the config key


def test_a_changed_key_reaches_everybody(bench: Bench) -> None:
    needs_reload = bench.view({"ttl": 40, "loop_wait": 5, "postgresql": {"parameters": {"work_mem": "8MB"}}})
    assert needs_reload
    settings = bench.shared.settings
    assert (settings.ttl_s, settings.loop_wait_s) == (40.0, 5.0)
    assert bench.store.timing == timing_of(settings) == Timing(ttl_s=40.0, loop_wait_s=5.0, retry_timeout_s=10.0)
    assert bench.used.dynamic_parameters == {"work_mem": "8MB"}
    assert bench.shared.dynamic_configuration["ttl"] == 40


def test_what_does_not_concern_postgres_reloads_nothing(bench: Bench) -> None:
    assert not bench.view({"ttl": 40, "loop_wait": 10})
    assert bench.shared.settings.ttl_s == 40.0


@pytest.mark.parametrize("values", [None, "text", {}, DYNAMIC], ids=["no object", "text", "empty", "the same"])
def test_a_key_that_says_nothing_new_changes_nothing(bench: Bench, values: Any) -> None:  # noqa: ANN401  # any JSON
    before = bench.reconfigurer.configuration
    assert not bench.view(values)
    assert bench.reconfigurer.configuration is before and bench.store.timing is None


def test_no_key_changes_nothing(bench: Bench) -> None:
    assert not bench.reconfigurer.take_view(Cluster())


def test_a_key_that_cannot_be_used_leaves_the_settings_and_says_why_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        bench.view({"ttl": "soon"})
    assert bench.shared.settings.ttl_s == Settings().ttl_s
    assert [record.getMessage() for record in caplog.records if "ttl" in record.getMessage()] == [
        "the config key is not used, but for its switches: ttl: 'soon' is not a whole number of seconds"
    ]


def test_pause_acts_beside_a_key_that_cannot_be_used(bench: Bench) -> None:
    bench.view({"ttl": "soon", "pause": True})
    assert bench.shared.settings.is_paused


# --- the file


def test_a_changed_file_is_taken_over(bench: Bench) -> None:
    bench.write("{tags: {nofailover: true}, postgresql: {parameters: {work_mem: 8MB}}}")
    assert bench.reread()
    assert bench.shared.settings.tags.nofailover
    assert bench.used.local_parameters == {"work_mem": "8MB"}


def test_an_unchanged_file_reloads_nothing(bench: Bench) -> None:
    before = bench.reconfigurer.configuration
    assert not bench.reread()
    assert bench.shared.settings == before.settings


@pytest.mark.parametrize("text", ["scope: [", "- a", "", "scope: batman"], ids=["broken", "a list", "empty", "half"])
def test_a_file_that_cannot_be_used_leaves_all_as_it_was(bench: Bench, text: str, caplog: pytest.LogCaptureFixture) -> None:
    before = bench.reconfigurer.configuration
    bench.file.write_text(text)
    assert not bench.reread()
    assert bench.reconfigurer.configuration is before
    said = [record for record in caplog.records if "the configuration was not reloaded" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.ERROR]


def test_a_file_that_is_gone_leaves_all_as_it_was(bench: Bench) -> None:
    bench.file.unlink()
    assert not bench.reread()
    assert bench.reconfigurer.read() is None


def test_what_a_running_agent_cannot_change_says_so(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.write("{restapi: {request_queue_size: 9}}")
    bench.reread()
    assert any(
        "restapi.request_queue_size" in said and "the agent must be restarted" in said
        for said in (r.getMessage() for r in caplog.records)
    )


def test_another_password_reaches_the_store(bench: Bench) -> None:
    first = "{etcd3: {host: '127.0.0.1:2379', username: u, password: first}}"
    bench.reconfigurer.configuration = build(Local(values=a_tree(first), path=str(bench.file)), DYNAMIC)
    bench.write(first)
    bench.reread()
    assert bench.store.sections == []
    bench.write(first.replace("first", "second"))
    bench.reread()
    assert [section["password"] for section in bench.store.sections] == ["second"]


def test_a_section_that_the_store_cannot_use_is_named_and_costs_nothing_else(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    kind = bench.reconfigurer.configuration.store.kind
    bench.write(f"{{{kind}: {{bad: 1}}, tags: {{nofailover: true}}}}")
    bench.reread()
    assert f"etcd3.bad: no; the former settings of {kind} stay in force" in caplog.text
    assert bench.shared.settings.tags.nofailover


def test_another_store_is_used_after_a_restart_only(bench: Bench) -> None:
    bench.reconfigurer.configuration = replace(
        bench.reconfigurer.configuration, store=StoreSection(kind="zookeeper", values={})
    )
    bench.write("{tags: {nofailover: true}}")
    bench.reread()
    assert bench.store.sections == []


def test_a_changed_log_reaches_the_log(bench: Bench, tmp_path: Path) -> None:
    logs = bench.reconfigurer._users.logs
    bench.write(f"{{log: {{dir: {tmp_path}, level: WARNING}}}}")
    root = logging.root.level
    try:
        bench.reread()
        assert logging.root.level == logging.WARNING
        assert (tmp_path / "patroni.log").exists()
    finally:
        logging.root.setLevel(root)
        logs.close(1.0)


def test_a_local_layer_without_a_change_is_the_same(bench: Bench) -> None:
    local = bench.reconfigurer.configuration.local
    assert not bench.reconfigurer.take_local(Local(values=local.values, path=local.path, environment=local.environment))


# --- the cache


def test_the_dynamic_layer_is_cached_where_the_next_start_reads_it(bench: Bench) -> None:
    bench.view({"ttl": 40})
    bench.reconfigurer.save(str(bench.data_dir))
    assert read_cache(str(bench.data_dir)) == dict(bench.reconfigurer.configuration.dynamic.values)
    assert os.listdir(bench.data_dir) == [CACHE]


def test_a_date_in_the_dynamic_layer_is_cached_as_its_text(bench: Bench) -> None:
    """YAML makes dates of what looks like one; the config key gets the same text."""
    configuration = build(Local(values=a_tree("{bootstrap: {dcs: {x: 2020-01-01}}}"), path="p.yml"), None)
    Reconfigurer(configuration, bench.reconfigurer._users).save(str(bench.data_dir))
    assert json.loads(bench.cache.read_text())["x"] == "2020-01-01"


@pytest.mark.parametrize(("mode", "then"), [(0o700, 0o600), (0o750, 0o640)])
def test_the_cache_is_as_readable_as_the_data(bench: Bench, mode: int, then: int) -> None:
    bench.data_dir.chmod(mode)
    bench.reconfigurer.save(str(bench.data_dir))
    assert stat.S_IMODE(bench.cache.stat().st_mode) == then


def test_an_unchanged_layer_is_written_once(bench: Bench) -> None:
    bench.reconfigurer.save(str(bench.data_dir))
    bench.cache.unlink()
    bench.reconfigurer.save(str(bench.data_dir))
    assert not bench.cache.exists()
    bench.view({"ttl": 40})
    bench.reconfigurer.save(str(bench.data_dir))
    assert bench.cache.exists()


def test_a_cache_that_cannot_be_written_is_tried_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.reconfigurer.save(str(bench.directory / "nowhere"))
    assert "was not written" in caplog.text
    bench.cache.mkdir()  # something else is in its place
    bench.reconfigurer.save(str(bench.data_dir))
    assert os.listdir(bench.data_dir) == [CACHE]
    bench.cache.rmdir()
    bench.reconfigurer.save(str(bench.data_dir))
    assert bench.cache.is_file()
