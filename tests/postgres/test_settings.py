"""Settings: what users write, what Postgres gets; files and their rules. Tables, no server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from patroni.decision.cluster import SlotName
from patroni.decision.node import Upstream
from patroni.postgres import archive, catalogue, conf, options, parameters, values
from patroni.postgres.config import Credentials, PostgresConfig
from patroni.postgres.stop import is_client

CONFIG = PostgresConfig(
    name="a",
    scope="demo",
    listen_host="127.0.0.1",
    port=5433,
    data_dir="/data",
    pgpass="/home/pgpass",
    replication=Credentials(username="rep", password="it's"),
)
UPSTREAM = Upstream(member="b", host="10.0.0.2", port=5432, slot=SlotName("a"))


@pytest.mark.parametrize(
    ("value", "base", "number"),
    [
        ("1.5GB", "MB", 1536),
        ("90s", "min", 2),
        ("1500us", "ms", 2),
        ("010", None, 8),
        ("08", None, None),
        ("0x1F", None, 31),
        ("-1", "kB", -1),
        ("1e3", None, 1000),
        (64.4, None, 64),
        ("1MB", None, None),
        ("128 MB", "8kB", 16384),
        ("5 parsecs", "kB", None),
        (True, None, None),
        (None, None, None),
        ("", None, None),
    ],
)
def test_integers(value: object, base: str | None, number: int | None) -> None:
    assert values.integer(value, base) == number


@pytest.mark.parametrize(
    ("value", "truth"),
    [("on", True), (True, True), ("YES", True), (1, True), ("off", False), (0, False), ("t", None), (1.0, None)],
)
def test_booleans(value: object, truth: bool | None) -> None:
    assert values.boolean(value) is truth


def test_values_for_people() -> None:
    assert [values.human("16384", "8kB"), values.human("3600", "s"), values.human("100", None)] == ["128MB", "1h", "100"]
    assert values.real("1.5s", "ms") == 1500.0


@pytest.mark.parametrize(
    ("written", "words", "faults"),
    [
        ({"max-rate": "10M", "empty": "", "verbose": None}, ["--max-rate=10M"], 0),
        (["verbose", {"max-rate": "10M"}], ["--verbose", "--max-rate=10M"], 0),
        ([{"label": "'two words'"}, {"path": "a b"}], ["--label=two words", "--path=a b"], 0),
        ([{"pgdata": "/x"}, "gzip", "verbose"], ["--verbose"], 2),
        ([{"rate": 10}, 5, {"a": "b", "c": "d"}], [], 3),
        ("verbose", [], 1),
        (None, [], 0),
    ],
)
def test_option_lists(written: object, words: list[str], faults: int) -> None:
    accepted, refused = options.words(written, options.BASEBACKUP_FORBIDDEN)
    assert (accepted, len(refused)) == (words, faults)


def test_only_cluster_wide_values_of_controlled_settings_count() -> None:
    config = dataclasses.replace(
        CONFIG,
        dynamic_parameters={"Max_Connections": "64.4", "wal_level": "hot_standby", "max_wal_senders": 1, "port": 1, "x.y": 1},
        local_parameters={"max_connections": 500, "work_mem": "8MB", "X.Y": 2, "hba_file": "own.conf", "log_duration": None},
    )
    wanted = parameters.wanted(config)
    assert wanted["max_connections"] == "64"
    assert wanted["wal_level"] == "replica"
    assert wanted["max_wal_senders"] == "10"  # refused, not clamped
    assert (wanted["port"], wanted["cluster_name"], wanted["wal_keep_size"]) == ("5433", "demo", "128MB")
    assert (wanted["work_mem"], wanted["X.Y"], wanted["hba_file"]) == ("8MB", "2", "/data/own.conf")
    assert "x.y" not in wanted and "log_duration" not in wanted


def test_segments_to_keep_become_a_size() -> None:
    config = dataclasses.replace(CONFIG, dynamic_parameters={"wal_keep_segments": 4})
    assert parameters.wanted(config)["wal_keep_size"] == "64MB"


def test_the_command_line_is_in_its_order() -> None:
    assert parameters.command_line(parameters.wanted(CONFIG)) == [
        "--listen_addresses=127.0.0.1",
        "--port=5433",
        "--cluster_name=demo",
        "--wal_level=replica",
        "--hot_standby=on",
        "--max_connections=100",
        "--max_wal_senders=10",
        "--max_prepared_transactions=0",
        "--max_locks_per_transaction=64",
        "--track_commit_timestamp=off",
        "--max_replication_slots=10",
        "--max_worker_processes=8",
        "--wal_log_hints=on",
    ]


def test_recovery_settings_of_a_standby() -> None:
    config = dataclasses.replace(
        CONFIG, recovery_conf={"restore_command": "cp x %p", "recovery_target_time": "now", "primary_conninfo": "host=evil"}
    )
    recovery = parameters.recovery(config, 15, UPSTREAM)
    assert recovery["primary_conninfo"] == (
        "dbname=postgres user=rep passfile=/home/pgpass host=10.0.0.2 port=5432 sslmode=prefer application_name=a"
        " gssencmode=prefer channel_binding=prefer"
    )
    assert recovery["primary_slot_name"] == "a"
    assert (recovery["restore_command"], recovery["recovery_target_time"]) == ("cp x %p", "")
    assert recovery["recovery_target_timeline"] == "latest"
    assert parameters.recovery(config, 18, UPSTREAM)["primary_conninfo"].endswith("sslnegotiation=postgres")
    assert parameters.recovery(config, 15, None)["primary_conninfo"] == ""


def test_recovery_settings_among_parameters_replace_the_section() -> None:
    config = dataclasses.replace(
        CONFIG, recovery_conf={"restore_command": "a"}, local_parameters={"archive_cleanup_command": "b"}
    )
    recovery = parameters.recovery(config, 15, None)
    assert "restore_command" not in recovery and recovery["archive_cleanup_command"] == "b"
    assert "archive_cleanup_command" not in parameters.wanted(config)


def test_the_text_of_postgresql_conf() -> None:
    text = conf.conf_text(CONFIG, {"b": "it's\\", "a": "True"}, {"primary_conninfo": ""})
    header, include, rest = text.partition("include 'postgresql.base.conf'\n\n")
    assert header.count("\n# ") == 1 and include
    assert rest == (
        "a = 'True'\nb = 'it''s\\\\'\nhba_file = '/data/pg_hba.conf'\nident_file = '/data/pg_ident.conf'\n"
        "\n# recovery\nprimary_conninfo = ''\n"
    )


def test_the_password_file_escapes_and_names_every_host(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, pgpass=str(tmp_path / "new" / "pgpass"))
    who = Credentials(username="rep", password="p:a\\ss w")
    path = Path(conf.write_passfile(config, who, {"host": "10.0.0.11,/run/pg", "port": "5432"}))
    assert path.read_text() == "".join(f"{host}:5432:*:rep:p\\:a\\\\ss w\n" for host in ("10.0.0.11", "/run/pg", "localhost"))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value", "version", "text"),
    [
        pytest.param("work_mem", "8MB", 150000, "8MB", id="a size"),
        pytest.param("WORK_MEM", "1kB", 150000, "64", id="below the minimum: clamped"),
        pytest.param("checkpoint_completion_target", "1.5", 150000, "1.0", id="above the maximum: clamped"),
        pytest.param("work_mem", "much", 150000, None, id="no number: dropped"),
        pytest.param("fsync", "perhaps", 150000, None, id="no boolean: dropped"),
        pytest.param("wal_compression", "lz4", 150000, "lz4", id="a word"),
        pytest.param("wal_compression", "lz4", 140000, None, id="not a word of that version yet"),
        pytest.param("wal_compression", "on", 150000, "on", id="a boolean among words"),
        pytest.param("default_transaction_isolation", "Read Committed", 150000, "Read Committed", id="words with blanks"),
        pytest.param("log_line_prefix", "%m", 150000, "%m", id="a string"),
    ],
)
def test_the_catalogue_judges_values(name: str, value: str, version: int, text: str | None) -> None:
    verdict = catalogue.judge(name, value, version)
    assert verdict is not None and verdict.text == text
    assert bool(verdict.fault) is (text != value)


def test_the_catalogue_knows_versions() -> None:
    assert catalogue.judge("vacuum_defer_cleanup_age", "1", 160000) is None
    assert catalogue.judge("no_such_setting", "1", 150000) is None


def test_placeholders_of_an_archive_command() -> None:
    assert archive.filled("cp %p /a/%f %% %x %r", "/data/pg_wal/SEG") == (
        "cp /data/pg_wal/SEG /a/SEG % %x 000000010000000000000001"
    )


@pytest.mark.parametrize(
    ("title", "is_ended"),
    [
        ("postgres: demo: postgres app 127.0.0.1(4711) idle", True),
        ("postgres: demo: rep app [local] idle", True),
        ("postgres: demo: walsender rep 127.0.0.1(4711) streaming 0/3000148", False),
        ("postgres: demo: walsender rep app 127.0.0.1(4711) START_REPLICATION", True),
        ("postgres: demo: walsender rep app [local] idle", True),
        ("postgres: demo: checkpointer ", False),
        ("postgres: demo: autovacuum worker app", False),
        ("postgres: demo: logical replication launcher ", False),
        ("/usr/lib/postgresql/15/bin/postgres -D /data", False),
        ("sh -c archive", False),
        ("", False),
    ],
)
def test_who_is_ended_before_a_stop(title: str, is_ended: bool) -> None:
    assert is_client(title, "demo", "rep") is is_ended
