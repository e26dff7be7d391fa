"""A new cluster: initdb, start, roles; and what is said when that cannot be."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from patroni.decision.node import ClusterState, DataDirectory, Process
from patroni.postgres import request as pg
from patroni.postgres.request import PostgresError
from tests.postgres.conftest import MakeNode
from tests.postgres.node import LIMIT_S, Node
from tests.support.waiting import wait_until


def test_initdb_start_and_roles(make_node: MakeNode) -> None:
    node = make_node("a")
    seen = node.directory / "seen"
    psql = f"{node.config.bin_dir}/psql"
    node.change(
        post_bootstrap=f"""sh -c 'echo "$1" "$PGOPTIONS" >{seen}; {psql} -qw -c "CREATE TABLE made ()" "$1"' script""",
        dynamic_parameters={"max_connections": 60, "synchronous_standby_names": "*", "synchronous_commit": "on"},
    )
    assert node.files().data_directory is DataDirectory.EMPTY

    node.bootstrap()

    files = node.files()
    assert files.process is Process.ALIVE
    assert files.data_directory is DataDirectory.PRESENT
    assert files.control is not None and files.control.cluster_state is ClusterState.IN_PRODUCTION
    assert files.control.can_rewind
    roles = node.sql("SELECT rolname, rolsuper, rolreplication FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1")
    assert roles == [("postgres", True, True), ("replicator", False, True), ("rewinder", False, False)]
    assert node.sql("SELECT has_function_privilege('rewinder', 'pg_read_binary_file(text)', 'EXECUTE')") == [(True,)]
    assert seen.read_text().startswith(f"dbname=postgres user=postgres host=localhost port={node.config.port} ")
    assert "synchronous_commit=local" in seen.read_text()
    assert node.sql("SELECT count(*) FROM made") == [(0,)]
    assert node.sql("SHOW max_connections") == [("60",)]


def test_a_failing_post_bootstrap_program_fails_the_bootstrap(make_node: MakeNode) -> None:
    node = make_node("a")
    node.change(post_bootstrap="sh -c 'exit 3'")
    with pytest.raises(PostgresError, match=r"^bootstrap.post_bootstrap: sh ended with status 3$"):
        node.bootstrap()
    node.stop()
    node.do(pg.MoveDataDirectoryAway())
    assert node.files().data_directory is DataDirectory.EMPTY
    assert Path(f"{node.data_dir}.failed", "PG_VERSION").exists()


def test_a_forbidden_initdb_option_is_named(make_node: MakeNode) -> None:
    node = make_node("a")
    node.change(initdb=[{"pgdata": "/elsewhere"}])
    with pytest.raises(PostgresError, match=r"^bootstrap.initdb: option pgdata is not allowed$"):
        node.do(pg.Initdb())
    node.change(initdb=[{"encoding": "no-such"}])
    with pytest.raises(PostgresError, match=r'^initdb failed \(status 1\): .*"no-such" is not a valid'):
        node.do(pg.Initdb())
    assert node.files().data_directory is DataDirectory.EMPTY


def test_cancel_ends_initdb_and_its_children(make_node: MakeNode) -> None:
    node = make_node("a")
    errors: list[PostgresError] = []

    def run() -> None:
        try:
            node.do(pg.Initdb())
        except PostgresError as error:
            errors.append(error)

    job = threading.Thread(target=run)
    job.start()
    wait_until(node.data_dir.exists, LIMIT_S, "initdb to begin")
    assert node.files().process is Process.DOWN  # the tool's own servers are nobody's leftovers
    node.driver.cancel()
    job.join(LIMIT_S)
    assert [str(error) for error in errors] == ["cancelled"]
    assert node.files().data_directory is DataDirectory.EMPTY


def test_a_job_that_was_cancelled_before_its_step_began_does_nothing(make_node: MakeNode) -> None:
    node = make_node("a")
    with pytest.raises(PostgresError, match=r"^cancelled$"):
        node.driver.perform(pg.Initdb(), LIMIT_S, lambda: True)
    assert node.files().data_directory is DataDirectory.EMPTY


def test_missing_programs_are_named(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    programs = str(node.directory)
    node.change(bin_dir=programs)
    with pytest.raises(PostgresError, match=rf"^postgresql.bin_dir: no program postgres in {programs}$"):
        node.do(pg.Initdb())
    (node.directory / "postgres").symlink_to(f"{template.config.bin_dir}/postgres")
    node.driver.configure(node.config)
    node.change(bin_dir=f"{programs}/.")
    with pytest.raises(PostgresError, match=rf"^Postgres' program initdb is missing in {programs}/\.$"):
        node.do(pg.Initdb())


def test_a_data_directory_open_to_others_is_refused_in_one_line(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    node.data_dir.chmod(0o755)
    node.do(pg.WriteConfiguration(is_standby=False))
    with pytest.raises(PostgresError, match=r"has permissions 0755; Postgres accepts 0700 or 0750: chmod 0700 it$"):
        node.do(pg.Launch())


def test_bad_settings_do_not_keep_the_server_from_starting(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    bad = {"no_such_setting": 1, "work_mem": "much", "shared_buffers": "1kB", "fsync": "perhaps", "my.own": "it's"}
    node.change(local_parameters={**node.config.local_parameters, **bad})
    node.start(is_standby=False)
    assert node.sql("SELECT current_setting('shared_buffers'), current_setting('my.own')") == [("128kB", "it's")]


def test_a_setting_that_waits_for_a_restart_is_said(make_node: MakeNode, template: Node) -> None:
    node = make_node("a")
    node.copy_of(template)
    node.start(is_standby=False)
    assert node.monitoring().pending_restart is None
    node.change(
        dynamic_parameters={"max_connections": 200},
        local_parameters={**node.config.local_parameters, "shared_buffers": "1GB", "work_mem": "7MB"},
    )
    node.do(pg.WriteConfiguration(is_standby=False))
    node.do(pg.Reload())
    wait_until(lambda: node.monitoring().pending_restart, LIMIT_S, "the server to see it", node.log)
    assert node.monitoring().pending_restart == {
        "max_connections": {"old_value": "100", "new_value": "200"},
        "shared_buffers": {"old_value": "128MB", "new_value": "1GB"},
    }
    assert node.sql("SHOW work_mem") == [("7MB",)]


def test_an_unreadable_data_directory_is_inaccessible(make_node: MakeNode) -> None:
    node = make_node("a")
    node.data_dir.mkdir(mode=0o300)
    files = node.files()
    assert files.data_directory is DataDirectory.INACCESSIBLE
    assert files.detail == f"{node.data_dir}: Permission denied"
    node.data_dir.chmod(0)
    assert node.files().data_directory is DataDirectory.INACCESSIBLE
    node.data_dir.chmod(0o700)
