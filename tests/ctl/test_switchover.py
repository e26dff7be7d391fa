"""`switchover`, `failover`, `flush switchover`: questions, requests, answers, fallback (contract/cli.md §4.8, §4.12)."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from patroni.decision.cluster import FailoverRequest
from tests.ctl.builders import a_cluster, a_member, a_standby
from tests.ctl.trial import Api, Heard, Trial, an_api
from tests.support.ports import reserve_port

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{5}"
DONE = 'Successfully switched over to "pg-b"'
AT = "2031-03-01T05:00:00+01:00"


def three(url: str | None = None, **more: object) -> dict[str, str]:
    """Build a cluster of three, whose APIs are all the same one; None: nobody listens."""
    url = url or f"http://127.0.0.1:{reserve_port()}/patroni"
    members = {
        "pg-a": a_member(api_url=url),
        "pg-b": a_standby("10.0.0.12", api_url=url),
        "pg-c": a_standby("10.0.0.13", api_url=url),
        "pg-d": a_standby("10.0.0.14", api_url=url, tags={"nofailover": True}),
        "pg-e": a_standby("10.0.0.15", api_url=url, tags={"failover_priority": 0}),
    }
    return a_cluster(members, **more)


def bodies(api: Api) -> list[tuple[str, object]]:
    """Return what was asked, as (path, body)."""
    return [(heard.path, heard.body) for heard in api.heard]


def test_the_dialogue_of_a_switchover(trial: Trial) -> None:
    with an_api(POST_switchover=(200, DONE)) as api:
        trial.put(three(api.url))
        done = trial.run("switchover", answers=["", "pg-b", "", "y"])
        assert bodies(api) == [("/switchover", {"leader": "pg-a", "candidate": "pg-b"})]
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "Current cluster topology"
    assert lines[1].startswith("+ Cluster: demo (")
    questions = lines[10:14]
    assert questions[:2] == ["Primary [pg-a]: ", "Candidate ['pg-b', 'pg-c'] []: pg-b"]
    assert re.fullmatch(r"When to switch over \(e\.g\. \d{4}-\d\d-\d\dT\d\d:\d\d\) \[now\]: ", questions[2])
    assert questions[3] == "Switch over cluster demo now, demoting leader pg-a? [y/N]: y"
    assert re.fullmatch(f"{STAMP} {re.escape(DONE)}", lines[14])
    assert lines[15].startswith("+ Cluster: demo (")


@pytest.mark.parametrize(
    ("arguments", "answers", "body"),
    [
        pytest.param(["--force"], [], {"leader": "pg-a", "candidate": None}, id="forced"),
        pytest.param(["demo", "--candidate", "pg-c", "--force"], [], {"leader": "pg-a", "candidate": "pg-c"}, id="candidate"),
        pytest.param(["--leader", "pg-a"], ["", "", "y"], {"leader": "pg-a", "candidate": ""}, id="nobody in particular"),
        pytest.param(
            ["--primary", "pg-a", "--candidate", "pg-b"], ["", "yes"], {"leader": "pg-a", "candidate": "pg-b"}, id="old"
        ),
        pytest.param(
            ["--force", "--scheduled", AT], [], {"leader": "pg-a", "candidate": None, "scheduled_at": AT}, id="scheduled"
        ),
        pytest.param(["--force", "--scheduled", "now"], [], {"leader": "pg-a", "candidate": None}, id="scheduled for now"),
    ],
)
def test_what_a_switchover_sends(trial: Trial, arguments: list[str], answers: list[str], body: object) -> None:
    with an_api(POST_switchover=(202, "accepted")) as api:
        trial.put(three(api.url))
        done = trial.run("switchover", *arguments, answers=answers)
        assert bodies(api) == [("/switchover", body)]
    assert done.status == 0
    assert re.search(f"^{STAMP} accepted$", done.out, re.MULTILINE)


def test_a_scheduled_time_is_named_in_the_question(trial: Trial) -> None:
    with an_api(POST_switchover=(202, "accepted")) as api:
        trial.put(three(api.url))
        done = trial.run("switchover", answers=["", "", AT, "y"])
        assert bodies(api) == [("/switchover", {"leader": "pg-a", "candidate": "", "scheduled_at": AT})]
    assert f"Switch over cluster demo at {AT}, demoting leader pg-a? [y/N]: y" in done.out


@pytest.mark.parametrize(
    ("command", "more", "answers", "err"),
    [
        pytest.param("switchover", {"leader": None}, [], "cluster demo has no leader", id="no leader"),
        pytest.param("switchover --leader pg-b", {}, [], "member pg-b is not the leader", id="not the leader"),
        pytest.param("switchover", {}, ["pg-c"], "member pg-c is not the leader", id="not the leader, at the prompt"),
        pytest.param("switchover --candidate pg-a", {}, [""], "pg-a is the leader already", id="the leader itself"),
        pytest.param("switchover --candidate PG-B --force", {}, [], "candidate PG-B is not among", id="case counts"),
        pytest.param("switchover --candidate pg-d --force", {}, [], "candidate pg-d is not among", id="nofailover"),
        pytest.param("switchover --candidate pg-e --force", {}, [], "candidate pg-e is not among", id="priority 0"),
        pytest.param("switchover --force --scheduled nonsense", {}, [], "nonsense: not a time", id="no time"),
        pytest.param(
            f"switchover --force --scheduled {AT}",
            {"config": {"pause": True}},
            [],
            "Can't schedule switchover in the paused state\n",
            id="paused",
        ),
        pytest.param("switchover", {}, ["", "", "", "n"], "nothing was done\n", id="not confirmed"),
        pytest.param("switchover", {}, ["", "", "", ""], "nothing was done\n", id="empty is no"),
        pytest.param("failover --force", {}, [], "a failover needs a candidate\n", id="failover without a candidate"),
        pytest.param("failover", {}, [""], "a failover needs a candidate\n", id="failover with an empty candidate"),
        pytest.param("failover --candidate pg-b", {}, ["n"], "nothing was done\n", id="failover not confirmed"),
        pytest.param("switchover --group 1 --force", {}, [], "cluster demo has no leader", id="no such group"),
    ],
)
def test_what_ends_before_the_request(
    trial: Trial, command: str, more: dict[str, object], answers: list[str], err: str
) -> None:
    with an_api() as api:
        values = three(api.url, **more)
        trial.put(values)
        done = trial.run(*command.split(), answers=answers)
        assert bodies(api) == []
    assert done.status == 1
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert err in done.err
    assert done.out.startswith("Current cluster topology\n+ C")
    assert trial.keys() == values


@pytest.mark.parametrize("command", ["switchover", "failover"])
def test_nobody_to_go_to(trial: Trial, command: str) -> None:
    members = {"pg-a": a_member(), "pg-b": a_standby(tags={"nofailover": True})}
    trial.put(a_cluster(members))
    done = trial.run(command, "--force")
    assert (done.status, done.err) == (1, f"Error: No candidates found to {command} to\n")


def test_the_end_of_input_aborts(trial: Trial) -> None:
    trial.put(three())
    done = trial.run("switchover", answers=["", ""])
    assert (done.status, done.err.strip()) == (1, "Aborted!")


@pytest.mark.parametrize(
    ("status", "text", "line"),
    [
        (412, "no good candidates", "Switchover failed, details: 412, no good candidates"),
        (503, "Switchover Status Unknown", "Switchover result unknown, details: 503, Switchover Status Unknown"),
        (401, "", "Switchover failed, details: 401, "),
    ],
)
def test_a_refusal_is_no_error(trial: Trial, status: int, text: str, line: str) -> None:
    with an_api(POST_switchover=(status, text)) as api:
        values = three(api.url)
        trial.put(values)
        done = trial.run("switchover", "--force")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == line
    assert trial.keys() == values


def test_an_agent_without_switchover_is_asked_for_a_failover(trial: Trial) -> None:
    with an_api(POST_switchover=(501, "Unsupported method ('POST'): not supported"), POST_failover=(200, DONE)) as api:
        trial.put(three(api.url))
        assert DONE in trial.run("switchover", "--force").out
        assert [path for path, _ in bodies(api)] == ["/switchover", "/failover"]


def test_a_failover(trial: Trial) -> None:
    with an_api(POST_failover=(200, "done")) as api:
        trial.put(three(api.url))
        done = trial.run("failover", answers=["pg-c", "y"])
        assert bodies(api) == [("/failover", {"candidate": "pg-c"})]
    assert "Candidate ['pg-b', 'pg-c'] []: pg-c\n" in done.out
    assert "Fail over cluster demo now, demoting leader pg-a? [y/N]: y" in done.out


def test_a_failover_without_a_leader_is_sent_to_the_candidate(trial: Trial) -> None:
    with an_api(POST_failover=(200, "done")) as api, an_api() as other:
        members = {"pg-b": a_standby("h1", api_url=other.url), "pg-c": a_standby("h2", api_url=api.url)}
        trial.put(a_cluster(members, leader=None))
        done = trial.run("failover", "--candidate", "pg-c", answers=["y"])
        assert (bodies(api), bodies(other)) == ([("/failover", {"candidate": "pg-c"})], [])
    assert "Fail over cluster demo now? [y/N]: y" in done.out


@pytest.mark.parametrize(
    ("mode", "sync", "candidate", "is_asked"),
    [
        (True, {"leader": "pg-a", "sync_standby": "pg-b"}, "pg-c", True),
        ("quorum", {"leader": "pg-a", "sync_standby": "pg-b"}, "pg-c", True),
        (True, {"leader": "pg-a", "sync_standby": "PG-C"}, "pg-c", False),
        (True, {"leader": "PG-C", "sync_standby": "pg-b"}, "pg-c", False),
        (True, {"leader": None, "sync_standby": None}, "pg-c", False),
        (False, {"leader": "pg-a", "sync_standby": "pg-b"}, "pg-c", False),
    ],
)
def test_a_failover_to_an_asynchronous_node(trial: Trial, mode: object, sync: object, candidate: str, is_asked: bool) -> None:
    with an_api(POST_failover=(200, "done")) as api:
        trial.put(three(api.url, config={"synchronous_mode": mode}, sync=sync))
        done = trial.run("failover", "--candidate", candidate, answers=["y", "y"])
        assert ("asynchronous node" in done.out) is is_asked
        forced = trial.run("failover", "--candidate", candidate, "--force")
        assert "asynchronous node" not in forced.out
        assert len(api.heard) == 2


def test_the_word_for_a_standby_leader(trial: Trial) -> None:
    trial.put(three(config={"standby_cluster": {"host": "h"}}))
    assert "Standby Leader [pg-a]: " in trial.run("switchover", answers=["x"]).out


def test_a_group_is_asked_for(trial: Trial) -> None:
    trial.configuration["citus"] = {"group": 0, "database": "citus"}
    with an_api(POST_switchover=(200, DONE)) as api:
        trial.put({f"1/{key}": value for key, value in three(api.url).items()})
        done = trial.run("switchover", answers=["x", "1", "", "", "", "y"])
        assert bodies(api) == [("/switchover", {"leader": "pg-a", "candidate": ""})]
        assert "Citus group: x\nError: " in done.out
        forced = trial.run("switchover", "--force")
        assert (forced.status, len(api.heard)) == (1, 1)
        assert "--group" in forced.err
        assert trial.run("switchover", "--force", "--group", "1").status == 0


@pytest.mark.parametrize(
    ("command", "value"),
    [
        (["switchover", "--force"], '{"leader":"pg-a"}'),
        (["switchover", "--force", "--candidate", "pg-b"], '{"leader":"pg-a","member":"pg-b"}'),
        (
            ["switchover", "--force", "--candidate", "pg-b", "--scheduled", AT],
            f'{{"leader":"pg-a","member":"pg-b","scheduled_at":"{AT}"}}',
        ),
        (["failover", "--force", "--candidate", "pg-b"], '{"member":"pg-b"}'),
    ],
)
@pytest.mark.parametrize("has_key", [True, False])
def test_the_store_where_the_api_does_not_answer(trial: Trial, command: list[str], value: str, has_key: bool) -> None:
    values = three(failover={"leader": "x"})
    if not has_key:
        del values["members/pg-a"]
    trial.put(values)
    done = trial.run(*command)
    assert done.status == 0
    assert trial.keys() == {**values, "failover": value}
    assert re.search(rf"^{STAMP} Could not {command[0]} through the REST API", done.out, re.MULTILINE)
    assert done.out.count("+ Cluster: demo") == 2
    assert re.match(r"\d{4}-\d\d-\d\d \S+ - WARNING - member pg-a", done.err)


def test_the_fallback_of_a_group_is_written_there(trial: Trial) -> None:
    trial.put({f"1/{key}": value for key, value in three().items()})
    assert trial.run("switchover", "--force", "--group", "1").status == 0
    assert trial.keys()["1/failover"] == '{"leader":"pg-a"}'


# --- flush


SCHEDULED = {"leader": "pg-a", "member": "pg-b", "scheduled_at": AT}


def test_nothing_to_flush(trial: Trial) -> None:
    for values in (three(), three(failover={"leader": "pg-a"}), {}):
        trial.put(values)
        done = trial.run("flush", "demo", "switchover")
        assert (done.status, done.out) == (0, "No switchover is scheduled for cluster demo\n")


@pytest.mark.parametrize(("status", "word"), [(200, "Success"), (404, "Failed")])
def test_flush_asks_the_leader(trial: Trial, status: int, word: str) -> None:
    with an_api(DELETE_switchover=(status, "words")) as api:
        trial.put(three(api.url, failover=SCHEDULED))
        done = trial.run("flush", "demo", "pg-b", "switchover", "--force", "-r", "any")
        assert [(heard.method, heard.path, heard.body) for heard in api.heard] == [("DELETE", "/switchover", None)]
    assert (done.status, done.out) == (0, f"{word}: words\n")


def test_flush_goes_on_to_others(trial: Trial) -> None:
    with an_api(DELETE_switchover=(503, "no")) as first, an_api(DELETE_switchover=(200, "deleted")) as second:
        gone = f"http://127.0.0.1:{reserve_port()}/patroni"
        members = {
            "pg-a": a_member(api_url=gone),
            "pg-b": a_standby("h1", api_url=first.url),
            "pg-c": a_standby("h2", api_url=second.url),
            "pg-0": "{}",
        }
        trial.put(a_cluster(members, failover=SCHEDULED))
        done = trial.run("flush", "demo", "switchover")
    assert done.out == "Failed: member=pg-b, status_code=503, (no)\nSuccess: deleted\n"
    assert "WARNING - member pg-a" in done.err
    assert trial.cluster().failover is not None


def test_flush_by_the_store(trial: Trial) -> None:
    trial.put(three(failover=SCHEDULED))
    done = trial.run("flush", "demo", "switchover")
    assert done.status == 0
    assert re.fullmatch(f"{STAMP} No member could be asked; .*\n", done.out)
    assert trial.keys()["failover"] == "{}"


def test_what_stock_members_read(trial: Trial) -> None:
    """The request that the fallback wrote reads back as it was meant."""
    trial.put(three())
    trial.run("switchover", "--force", "--candidate", "pg-b")
    found = trial.cluster().failover
    assert found is not None
    assert replace(found, token=None) == FailoverRequest(leader="pg-a", candidate="pg-b")


def test_credentials_are_sent(trial: Trial) -> None:
    trial.configuration["restapi"] = {"authentication": {"username": "u", "password": "p"}}
    with an_api(POST_switchover=(200, DONE)) as api:
        trial.put(three(api.url))
        trial.run("switchover", "--force")
        heard: Heard = api.heard[0]
    assert heard.headers["authorization"] == "Basic dTpw"
    assert re.fullmatch(r"Patroni/4\.1\.4 Python/3\.\d+\.\S+ \S+", heard.headers["user-agent"])
    assert json.loads(json.dumps(heard.body)) == {"leader": "pg-a", "candidate": None}
