"""What keeps a node from working is said in one line before anything is started, and nothing is touched."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from patroni.agent.port import fault_of_listening, holder
from patroni.agent.preflight import faults
from patroni.postgres.config import PostgresConfig
from tests.support.directories import give_to_servers, unprivileged_user
from tests.support.ports import reserve_port
from tests.support.process import Process

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> PostgresConfig:
    """Return a node that can work, and is not made yet."""
    return PostgresConfig(name="a", scope="c", listen_host=HOST, port=reserve_port(), data_dir=str(tmp_path / "data" / "pg"))


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Return a port that this process listens on."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


def existing(config: PostgresConfig, *files: str) -> PostgresConfig:
    """Make the data directory with these files."""
    os.makedirs(config.data_dir)
    for name in files:
        Path(config.data_dir, name).write_text("15")
    return config


def test_a_new_node_has_no_fault(config: PostgresConfig) -> None:
    assert faults(config) == []
    assert not os.path.exists(os.path.dirname(config.data_dir))


@pytest.mark.parametrize(
    "files",
    [
        pytest.param((), id="empty"),
        pytest.param(("lost+found",), id="a file system of its own"),
        pytest.param(("PG_VERSION", "base"), id="a database"),
    ],
)
def test_a_data_directory_to_work_with(config: PostgresConfig, files: tuple[str, ...]) -> None:
    assert faults(existing(config, *files)) == []


def test_a_copy_that_was_cut_off_is_no_fault(config: PostgresConfig) -> None:
    Path(f"{existing(config, 'base').data_dir}.incomplete").write_text("1")
    assert faults(config) == []


def test_a_data_directory_with_something_else(config: PostgresConfig) -> None:
    key = f"postgresql.data_dir: {config.data_dir}"
    assert faults(existing(config, "photo")) == [f"{key} is not empty, but holds no database of Postgres (no PG_VERSION)"]


def test_a_file_where_the_data_directory_ought_to_be(config: PostgresConfig, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert faults(config) == [f"postgresql.data_dir: {config.data_dir} cannot be made: {tmp_path / 'data'} is not a directory"]
    path = str(tmp_path / "data")
    assert faults(replace(config, data_dir=path)) == [f"postgresql.data_dir: {path} is not a directory"]


def test_a_directory_of_somebody_else(config: PostgresConfig) -> None:
    # Root's, or, where we are root, that of the servers' user.
    path = Path("/") if unprivileged_user() is None else give_to_servers(Path(existing(config).data_dir))
    (fault,) = faults(replace(config, data_dir=str(path)))
    assert fault.startswith(f"postgresql.data_dir: {path} belongs to user ")


def test_the_programs_of_postgres_are_missing(config: PostgresConfig) -> None:
    assert faults(replace(config, bin_dir="/nowhere")) == ["postgresql.bin_dir: no program postgres in /nowhere"]


def test_a_password_file_that_cannot_be_written(config: PostgresConfig, tmp_path: Path) -> None:
    (fault,) = faults(replace(config, pgpass=str(tmp_path)))
    assert fault.startswith(f"postgresql.pgpass: {tmp_path} is no file that user ")


def test_a_port_in_use_is_named_with_its_holder(config: PostgresConfig, taken_port: int) -> None:
    me = f"by {Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
    (fault,) = faults(replace(config, port=taken_port))
    assert fault == f"postgresql.listen: {HOST}:{taken_port}: Address already in use, {me}"


def test_one_free_address_is_enough(config: PostgresConfig, taken_port: int) -> None:
    assert faults(replace(config, port=taken_port, listen_host=f"{HOST}, 127.0.0.2")) == []


def test_the_port_of_a_server_that_runs_here_is_its_own(config: PostgresConfig, taken_port: int) -> None:
    assert faults(replace(existing(config, "PG_VERSION", "postmaster.pid"), port=taken_port)) == []


def test_an_address_of_another_host(config: PostgresConfig) -> None:
    (fault,) = faults(replace(config, listen_host="192.0.2.1"))
    assert fault == f"postgresql.listen: 192.0.2.1:{config.port}: Cannot assign requested address"


def test_a_free_port_has_no_holder() -> None:
    port = reserve_port()
    assert (fault_of_listening(None, port), holder(port)) == (None, "")


def test_the_agent_says_all_and_ends(directory: Path) -> None:
    text = (ROOT / "postgres0.yml").read_text()
    for old, new in {
        "data/": f"{directory}/data/",
        "#  bin_dir:": "  bin_dir: /nowhere #",
        "127.0.0.1:5432": "192.0.2.1:5432",
    }.items():
        assert old in text
        text = text.replace(old, new)
    file = directory / "node.yml"
    file.write_text(text)
    with Process([sys.executable, ROOT / "patroni.py", give_to_servers(file)], directory, name="agent") as agent:
        assert agent.wait_end(30.0) == 1
        said = agent.log_file.read_text()
    assert [line.partition("CRITICAL: ")[2] for line in said.splitlines() if "CRITICAL" in line] == [
        "postgresql.bin_dir: no program postgres in /nowhere",
        "postgresql.listen: 192.0.2.1:5432: Cannot assign requested address",
    ]
    assert "Traceback" not in said
    assert not (directory / "data" / "postgresql0").exists()


def test_a_standby_cluster_is_not_begun(directory: Path) -> None:
    """Its leader would be promoted, and leave the cluster that it follows."""
    text = (ROOT / "postgres0.yml").read_text()
    assert "etcd3:" in text and "  dcs:" in text
    text = text.replace("data/", f"{directory}/data/").replace("  dcs:", "  dcs:\n    standby_cluster: {host: 127.0.0.1}", 1)
    text = text.replace("etcd3:", f"local: {{path: {directory}/data/store}}\nother:", 1)
    file = directory / "node.yml"
    file.write_text(text)
    with Process([sys.executable, ROOT / "patroni.py", give_to_servers(file)], directory, name="agent") as agent:
        assert agent.wait_end(30.0) == 1
        said = agent.log_file.read_text()
    (line,) = [line.partition("CRITICAL: ")[2] for line in said.splitlines() if "CRITICAL" in line]
    assert line.startswith("standby_cluster: not supported yet")
    assert not (directory / "data" / "postgresql0").exists() or not os.listdir(directory / "data" / "postgresql0")
