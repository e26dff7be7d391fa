"""Commands that only look: streams, exit codes, forms (contract/cli.md §2.10, §4.1-4.7)."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from patroni.ctl import ctl
from tests.ctl.builders import LSN, PREFIX, a_cluster, a_member, a_standby
from tests.ctl.trial import ROOT, Trial, an_api, interrupted, patronictl
from tests.support.ports import reserve_port

TWO = a_cluster({"pg-a": a_member(), "pg-b": a_standby("10.0.0.12", 5433)})
HISTORY = [
    [1, 25690112, "no recovery target specified"],
    [2, 50331808, "no recovery target specified", "2031-01-02T03:04:05.678901+00:00", "pg-b"],
]


def test_list_and_topology(trial: Trial) -> None:
    trial.put(TWO)
    done = trial.run("list")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("+ Cluster: demo (7421398765432109876) ---")
    assert done.out.endswith("-+\n")
    assert trial.run("list", "demo", "-f", "tsv").out.splitlines()[2].startswith("demo\tpg-b\t10.0.0.12:5433\tReplica")
    assert trial.run("list", "-f", "yml").out.endswith("\n\n")
    assert "| + pg-b | 10.0.0.12:5433 |" in trial.run("topology").out
    both = trial.run("list", "-fjson", "demo", "other").out.splitlines()
    assert [len(json.loads(line)) for line in both] == [2, 0]


def test_list_with_the_time(trial: Trial) -> None:
    first, second, *_ = trial.run("list", "-t").out.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", first)
    assert second.startswith("+ Cluster: demo (uninitialized) ---")


def test_list_without_a_name(trial: Trial) -> None:
    del trial.configuration["scope"]
    done = trial.run("list")
    assert (done.status, done.out) == (0, "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - WARNING - nothing to list: .*\n", done.err)


@pytest.mark.parametrize("command", ["topology", "history", "show-config"])
def test_a_cluster_that_does_not_exist(trial: Trial, command: str) -> None:
    assert trial.run(command, "other").status == 0


@pytest.mark.parametrize("command", ["history", "show-config", "dsn", "switchover", "failover", "edit-config", "why"])
def test_no_cluster_is_named(trial: Trial, command: str) -> None:
    del trial.configuration["scope"]
    done = trial.run(command)
    assert (done.status, done.out) == (1, "")
    assert re.fullmatch("Error: no cluster is named.*\n", done.err)


@pytest.mark.parametrize("command", [["list", "-w", "0.05"], ["topology", "-w0.05", "-W"]])
def test_watch_ends_by_interrupt(trial: Trial, tmp_path: Path, command: list[str]) -> None:
    trial.put(TWO)
    done = interrupted(["-c", trial.write_configuration(), *command], tmp_path / "out", 18)
    assert (done.status, done.err.strip()) == (1, "Aborted!")
    assert done.out.count("+ Cluster: demo") >= 3
    assert "\033" not in done.out  # it is no terminal


def test_history(trial: Trial) -> None:
    trial.put({"history": json.dumps(HISTORY)})
    assert (
        trial.run("history").out
        == """\
+----+----------+------------------------------+----------------------------------+------------+
| TL |      LSN | Reason                       | Timestamp                        | New Leader |
+----+----------+------------------------------+----------------------------------+------------+
|  1 | 25690112 | no recovery target specified |                                  |            |
|  2 | 50331808 | no recovery target specified | 2031-01-02T03:04:05.678901+00:00 | pg-b       |
+----+----------+------------------------------+----------------------------------+------------+
"""
    )
    assert trial.run("history", "-f", "json").out.startswith(
        '[{"TL": 1, "LSN": 25690112, "Reason": "no recovery target specified", "Timestamp": "", "New Leader": ""}, '
    )
    assert trial.run("history", "-f", "tsv").out.splitlines()[1] == "1\t25690112\tno recovery target specified\t\t"


@pytest.mark.parametrize(
    ("form", "out"), [("json", "[]\n"), ("yaml", "[]\n\n"), ("tsv", "TL\tLSN\tReason\tTimestamp\tNew Leader\n")]
)
def test_no_history(trial: Trial, form: str, out: str) -> None:
    assert trial.run("history", "-f", form).out == out


def test_show_config(trial: Trial) -> None:
    trial.put({"config": '{"ttl":30,"postgresql":{"parameters":{"max_connections":200}},"loop_wait":10,"retry_timeout":10}'})
    assert (
        trial.run("show-config").out
        == """\
loop_wait: 10
postgresql:
  parameters:
    max_connections: 200
retry_timeout: 10
ttl: 30

"""
    )
    assert trial.run("show-config", "other").out == ""


@pytest.mark.parametrize(
    ("arguments", "status", "out"),
    [
        ([], 0, "host=10.0.0.11 port=5432\n"),
        (["demo"], 0, "host=10.0.0.11 port=5432\n"),
        (["-r", "replica"], 0, "host=10.0.0.12 port=5433\n"),
        (["-r", "standby"], 0, "host=10.0.0.12 port=5433\n"),
        (["-r", "any"], 0, "host=10.0.0.11 port=5432\n"),
        (["-r", "primary"], 0, "host=10.0.0.11 port=5432\n"),
        (["-m", "pg-b"], 0, "host=10.0.0.12 port=5433\n"),
        (["-m", "pg-x"], 1, ""),
        (["other"], 1, ""),
        (["-m", "pg-b", "-r", "any"], 1, ""),
        (["-r", "master"], 2, ""),
    ],
)
def test_dsn(trial: Trial, arguments: list[str], status: int, out: str) -> None:
    trial.put(TWO)
    done = trial.run("dsn", *arguments)
    assert (done.status, done.out) == (status, out)
    assert ("Error: " in done.err) is (status != 0)


@pytest.mark.parametrize(
    ("member_role", "role", "status"),
    [
        ("standby_leader", "primary", 1),
        ("standby_leader", "standby-leader", 0),
        ("primary", "standby-leader", 1),
        ("master", "standby-leader", 1),
        ("replica", "standby-leader", 0),
    ],
)
def test_roles_of_a_leader(trial: Trial, member_role: str, role: str, status: int) -> None:
    trial.put(a_cluster({"pg-a": a_member(role=member_role)}))
    assert trial.run("dsn", "-r", role).status == status


def test_version(trial: Trial) -> None:
    assert patronictl("version").out == "patronictl version 4.1.4\n"
    status = {"server_version": 170005, "patroni": {"version": "4.1.4"}}
    older = {"server_version": 90624, "patroni": {"version": "2.0"}}
    with an_api(GET_patroni=(503, json.dumps(status)), GET_b=(200, json.dumps(older)), GET_c=(200, "{}")) as api:
        urls = {"pg-a": "patroni", "pg-b": "b", "pg-c": "c"}
        members = {name: a_member(api_url=f"http://127.0.0.1:{api.port}/{path}") for name, path in urls.items()}
        gone = a_member(api_url=f"http://127.0.0.1:{reserve_port()}/patroni")
        trial.put(a_cluster({**members, "pg-d": gone, "pg-e": "{}"}))
        done = trial.run("version", "demo")
        one = trial.run("version", "demo", "pg-b", "pg-x")
    lines = done.out.splitlines()
    assert lines[:4] == [
        "patronictl version 4.1.4",
        "",
        "pg-a: Patroni 4.1.4 PostgreSQL 17.5",
        "pg-b: Patroni 2.0 PostgreSQL 9.6.24",
    ]
    assert [line[:29] for line in lines[4:]] == ["pg-c: failed to get version: ", "pg-d: failed to get version: "]
    assert done.status == 0
    assert one.out.splitlines()[2:] == ["pg-b: Patroni 2.0 PostgreSQL 9.6.24"]


def test_why(trial: Trial) -> None:
    decision = "2031-01-02T03:04:05+00:00 no action. I am (pg-b)"
    told = {
        "state": "running",
        "xlog": {"received_location": 1, "replayed_location": 2},
        "tags": {"nofailover": True},
        "agent": {"decision": decision, "job": "restart"},
    }
    with an_api(GET_patroni=(200, json.dumps(told))) as api:
        members = {name: a_member(api_url=api.url) for name in ("pg-a", "pg-b")}
        gone = a_member(api_url=f"http://127.0.0.1:{reserve_port()}/patroni")
        trial.put(a_cluster({**members, "pg-c": gone}))
        done = trial.run("why")
        assert trial.run("why", "pg-x").status == 1
    lines, behind = done.out.splitlines(), f"{LSN - 2} bytes behind the last published position"
    assert lines[:6] == [
        f"pg-a (Leader): {decision}",
        "    under way: restart",
        f"pg-b (Replica): {decision}",
        "    under way: restart",
        "    against it as leader: its tags (nofailover, or failover_priority 0)",
        f"    against it as leader: {behind}, more than maximum_lag_on_failover (1048576)",
    ]
    assert lines[6].startswith("pg-c (Replica): no answer (")
    assert lines[7:] == ["    against it as leader: it does not answer"]


def test_groups_of_citus(trial: Trial) -> None:
    for group in (0, 1):
        trial.put(a_cluster({f"w{group}": a_member(f"10.0.{group}.11")}, leader=f"w{group}"), f"{PREFIX}{group}/")
    assert trial.run("list", "--group", "1").out.startswith("+ Citus cluster: demo (group: 1, 74213")
    assert trial.run("dsn", "--group", "1").out == "host=10.0.1.11 port=5432\n"
    trial.configuration["citus"] = {"group": 0, "database": "citus"}
    assert [row["Group"] for row in json.loads(trial.run("list", "-f", "json").out)] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "status", "err"),
    [
        (["-c", "/nonexistent/x.yml", "list"], 1, "Error: /nonexistent/x.yml: there is no such file\n"),
        (["-d", "ftp://h", "list", "demo"], 1, "Error: --dcs-url: ftp://h: ftp is none of etcd, .*\n"),
        (["-d", "zookeeper://h", "list", "demo"], 1, "Error: zookeeper: not supported yet; write one of .*\n"),
        (["list", "demo"], 1, "Error: no store is configured; .*\n"),
        (["list", "-f", "xml"], 2, "Usage: (.|\n)*Error: .*\n"),
        (["list", "--form", "tsv"], 2, "Usage: (.|\n)*Error: .*\n"),
        (["nonsense"], 2, "Usage: (.|\n)*Error: .*\n"),
        (["flush"], 2, "Usage: (.|\n)*Error: Missing argument 'CLUSTER_NAME'.\n"),
        (["pause", "--wait"], 1, "Error: `pause`: this version cannot do it yet\n"),
        (["restart", "demo", "--force"], 1, "Error: `restart`: this version cannot do it yet\n"),
        (["flush", "demo", "restart"], 1, "Error: `flush … restart`: this version cannot do it yet\n"),
    ],
)
def test_errors(arguments: list[str], status: int, err: str) -> None:
    done = patronictl(*arguments)
    assert (done.status, done.out) == (status, "")
    assert re.fullmatch(err, done.err)


def test_a_missing_store_file_is_not_made(trial: Trial, tmp_path: Path) -> None:
    trial.configuration["local"] = {"path": str(tmp_path / "none.db")}
    done = trial.run("list")
    assert (done.status, done.out) == (1, "")
    assert done.err == f"Error: local.path: there is no {tmp_path}/none.db; the first agent to start makes it\n"
    assert not (tmp_path / "none.db").exists()


def test_broken_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    for text in ("", "[1]", "scope: [", "scope: 5"):
        path.write_text(text)
        done = patronictl("-c", str(path), "list")
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert done.err.startswith(f"Error: {'scope' if text == 'scope: 5' else path}")


def test_the_environment_counts(trial: Trial) -> None:
    trial.put(a_cluster({}), "/prod/abc/")
    out = trial.run("list", PATRONI_SCOPE="abc", PATRONI_NAMESPACE="prod").out
    assert out.startswith("+ Cluster: abc (7421398765432109876)")
    path = trial.write_configuration()
    assert "Cluster: demo" in patronictl("list", PATRONICTL_CONFIG_FILE=path, DCS_URL="").out


def test_help_lists_all_commands() -> None:
    done = patronictl("--help")
    assert done.status == 0
    names = re.findall(r"^  ([a-z-]+)  ", done.out.partition("Commands:")[2], re.MULTILINE)
    assert names == sorted(names)
    assert set(names) == {
        *("demote-cluster", "dsn", "edit-config", "failover", "flush", "history", "list", "pause", "promote-cluster"),
        *(
            "query",
            "reinit",
            "reload",
            "remove",
            "restart",
            "resume",
            "show-config",
            "switchover",
            "topology",
            "version",
            "why",
        ),
    }
    assert patronictl("switchover", "--help").status == 0


def test_the_entry_that_start_scripts_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(["version"]) == 0
    assert capsys.readouterr().out == "patronictl version 4.1.4\n"


def test_from_the_checkout() -> None:
    done = subprocess.run(
        [str(ROOT / "patronictl.py"), "version"], capture_output=True, text=True, timeout=60, check=False, cwd=os.sep
    )
    assert (done.returncode, done.stdout) == (0, "patronictl version 4.1.4\n")
