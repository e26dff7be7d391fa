"""One random-kill run: what is killed when, what must be back before the next kill, and the account at the end."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.kill.losses import MAXIMUM_LAG_BYTES, elections, explained
from tests.support.cluster import FAST, Cluster, Shape, StoreKind
from tests.support.directories import server_directory
from tests.support.haproxy import HaProxy
from tests.support.node import PASSWORD, SUPERUSER, Node
from tests.support.sql import Session
from tests.support.waiting import NotInTime
from tests.support.writer import TABLE, Writer

HEALED_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast one kill follows another. The clusters' ttl is shorter than the longest absence, so that some fail over."""

    quiet_s: tuple[float, float] = (20.0, 40.0)  # between two kills
    away_s: tuple[float, float] = (0.0, 10.0)  # how long what was killed stays away


USUAL = Pace()
SHORT = Pace(quiet_s=(1.0, 3.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that can be killed, and how it comes back."""

    name: str
    strike: Callable[[], None]
    mend: Callable[[], None]


@dataclass(slots=True, kw_only=True)
class _Tally:
    kills_s: list[float] = field(default_factory=list)  # monotonic
    faults: int = 0
    longest_away_s: float = 0.0


class Run:
    """A cluster of three, HAProxy before it, one writer."""

    def __init__(self, store: StoreKind, chance: random.Random, pace: Pace = USUAL) -> None:
        """chance: makes every choice."""
        self._store = store
        self._chance = chance
        self._pace = pace
        self._tally = _Tally()

    def carry_out(self, seconds: float) -> int:
        """Kill for so long, then heal and account; return the exit status."""
        with ExitStack() as running:
            place = running.enter_context(server_directory("kill"))
            dynamic = {**FAST, "maximum_lag_on_failover": MAXIMUM_LAG_BYTES}
            cluster = running.enter_context(Cluster(place, Shape(store=self._store, dynamic=dynamic)))
            leader = cluster.bootstrap()
            leader.sql(TABLE)
            haproxy = running.enter_context(HaProxy(cluster.nodes, place))
            say(f"three nodes stream, {leader} leads; logs are in {place} until the end")
            writer = running.enter_context(Writer(_dsn(haproxy.primary_port), "client"))
            writer.wait_for_write()
            try:
                self._kill_for(seconds, cluster, haproxy, writer)
                cluster.wait_healthy(HEALED_S)
                writer.wait_for_write()
            except (NotInTime, AssertionError) as error:
                say(f"NOT HEALED: {error}")
                _keep_logs(cluster)
                return 1
            return self._account(cluster, writer)

    def _kill_for(self, seconds: float, cluster: Cluster, haproxy: HaProxy, writer: Writer) -> None:
        pause = threading.Event()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            pause.wait(self._chance.uniform(*self._pace.quiet_s))
            leader = cluster.wait_healthy(HEALED_S)
            faults = self._choose(cluster, haproxy, leader)
            began_s = time.monotonic()
            for fault in faults:
                self._tally.kills_s.append(time.monotonic())
                fault.strike()
            pause.wait(self._chance.uniform(*self._pace.away_s))
            for fault in faults:
                fault.mend()
            after = cluster.wait_healthy(HEALED_S)
            writer.wait_for_write(HEALED_S)
            away_s = writer.longest_gap_s(began_s)
            self._tally.faults += len(faults)
            self._tally.longest_away_s = max(self._tally.longest_away_s, away_s)
            names = " and ".join(fault.name for fault in faults)
            say(f"{names}: writes away {away_s:.1f} s, all healthy after {time.monotonic() - began_s:.1f} s, {after} leads")

    def _choose(self, cluster: Cluster, haproxy: HaProxy, leader: Node) -> list[Fault]:
        """Return one fault, or an announced pair of two different ones."""
        count = 2 if self._chance.random() < 0.2 else 1
        node = leader if self._chance.random() < 0.6 else self._chance.choice(cluster.nodes)
        faults = self._faults_of(node, "leader" if node is leader else "replica")
        faults.append(Fault(name="HAProxy", strike=haproxy.kill, mend=haproxy.start))
        if cluster.etcd is not None:
            member = cluster.etcd.members[0]
            faults.append(Fault(name="etcd", strike=member.process.kill, mend=member.restart))
        chosen = [self._chance.choice(faults)]
        if count == 2:
            other = self._chance.choice([each for each in cluster.nodes if each is not node])
            role = "leader" if other is leader else "replica"
            chosen.append(self._chance.choice([*self._faults_of(other, role), *faults[4:]]))
        return chosen if len({fault.name for fault in chosen}) == len(chosen) else chosen[:1]

    def _faults_of(self, node: Node, role: str) -> list[Fault]:
        def back() -> None:
            if not node.is_agent_running():
                node.agent.kill()
                node.start_agent()

        def nothing() -> None:
            """Postgres is started by its agent."""

        def stop() -> None:
            node.stop_agent()

        return [
            Fault(name=f"agent of {node} ({role})", strike=node.kill_agent, mend=back),
            Fault(name=f"postmaster of {node} ({role})", strike=node.kill_postmaster, mend=nothing),
            Fault(name=f"node {node} ({role})", strike=node.kill, mend=back),
            Fault(name=f"clean stop of {node} ({role})", strike=stop, mend=back),
        ]

    def _account(self, cluster: Cluster, writer: Writer) -> int:
        """Print what was lost and whether the elections explain it; return the exit status."""
        leader = cluster.wait_healthy(HEALED_S)
        with Session(leader.dsn, 10.0) as session:
            lost = writer.lost(session)
        held = elections([(node.name, node.log()) for node in cluster.nodes])
        losses = explained(lost, self._tally.kills_s, held)
        for loss in losses:
            say(f"lost: {loss}")
        unexplained = [loss for loss in losses if not loss.is_explained]
        too_far = [each for each in held if each.lag_bytes > MAXIMUM_LAG_BYTES]
        say(
            f"{self._tally.faults} kills, {len(writer.acknowledged)} rows acknowledged, {len(lost)} lost"
            f" ({len(unexplained)} not explained by an election), {len(held)} elections, {len(too_far)} from too far behind;"
            f" writes away {self._tally.longest_away_s:.1f} s at most"
        )
        if unexplained or too_far:
            _keep_logs(cluster)
            return 1
        return 0


def say(line: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"kill: {time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def _dsn(port: int) -> str:
    return f"host=127.0.0.1 port={port} user={SUPERUSER} password={PASSWORD} dbname=postgres connect_timeout=3"


def _keep_logs(cluster: Cluster) -> None:
    """Keep the agents' logs of a run that failed; the cluster's directory goes."""
    kept = Path("/tmp") / f"patroni-kill-{int(time.time())}"
    kept.mkdir()
    for node in cluster.nodes:
        (kept / f"{node.name}.log").write_text(node.log())
    say(f"logs are kept in {kept}")
