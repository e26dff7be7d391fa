"""REST between agents, and for whoever checks them: the real document and the real parser, over the simulated network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from patroni.agent.order import TouchMember
from patroni.dcs.member import Publication
from patroni.decision.cluster import PostgresState
from patroni.decision.leader_race import is_standing_back
from patroni.decision.node import Node
from patroni.decision.view import Answer, Silent
from patroni.postgres import request as pg
from patroni.postgres.request import Monitoring, PostgresError
from patroni.rest.client import parse_status
from patroni.rest.document import status_document, wants_query
from patroni.rest.snapshot import Authority, Situation, Snapshot
from tests.simulation.agent_model import Agent
from tests.simulation.engine import Acts, Signal, Task, Wait

PEER_S = 2.0
PROBE_S = 4.0
SAYS_POSITION = (PostgresState.RUNNING, PostgresState.RESTARTING, PostgresState.STARTING)


@dataclass(slots=True)
class _Reply:
    signal: Signal
    body: bytes | None = None


def ask_peer(agent: Agent, api_url: str) -> Acts[Answer | Silent]:
    """Ask another agent for its status, 2 s at most."""
    name = urlsplit(api_url).hostname or ""
    reply = _Reply(Signal())
    peer, there = agent.site.agents.get(name), agent.site.driver.postgres.peers[name]
    if peer is None and there.host is not None and agent.site.network.is_open_both(agent.name, name):
        yield agent.site.network.delay_s() * 2
        return Silent(age_s=0.0)  # nobody listens there: refused at once
    if peer is not None:
        agent.site.network.send(agent.name, peer.place, name, lambda: _serve(peer, agent, reply))
    yield Wait(reply.signal, agent.site.host.lasts_s(PEER_S))
    answer = parse_status(reply.body) if reply.body is not None else None
    return answer if answer is not None else Silent(age_s=0.0)


def _serve(peer: Agent, asker: Agent, reply: _Reply) -> None:
    def answer(document: dict[str, object]) -> None:
        def arrive() -> None:
            reply.body = json.dumps(document).encode()
            reply.signal.fire()

        peer.site.network.send(peer.name, asker.place, asker.name, arrive)

    Task(peer.place, _document(peer), answer)


def _document(peer: Agent) -> Acts[dict[str, object]]:
    situation = _situation(peer, None)
    if situation is None:
        return {}
    monitoring = None
    if wants_query(situation):
        try:
            monitoring = yield from peer.site.driver.perform(pg.ReadMonitoring(is_for_rest=True), PROBE_S)
        except PostgresError:
            monitoring = None
    yield peer.site.host.lag_s()
    now = _situation(peer, monitoring if monitoring is not None and wants_query(situation) else None)
    return status_document(now) if now is not None else {}


def check_primary(agent: Agent, tell: Callable[[bool], None]) -> None:
    """Answer `GET /primary` at the agent's place: whether its status is 200."""
    tell(agent.site.parts.authority(agent.keeper, agent.published, agent.now()) is Authority.HELD)


def _situation(agent: Agent, monitoring: Monitoring | None) -> Situation | None:
    """Return what one answer depends on, as `agent/agent.py` publishes it; None: nothing was published yet."""
    turn, now = agent.published, agent.now()
    if turn is None:
        return None
    view = turn.view
    snapshot = Snapshot(
        scope="sim",
        own_version="0",
        node=view.node,
        monitoring=agent.monitoring,
        cluster=view.cluster,
        cluster_seen=agent.loop.observed.cluster_began,
        settings=view.settings,
        guard=view.guard,
        is_out_of_race=is_standing_back(view),
        next_run=now,
    )
    authority = agent.site.parts.authority(agent.keeper, turn, now)
    return Situation(snapshot=snapshot, authority=authority, now=now, wall=view.wall, monitoring=monitoring)


def publication(touch: TouchMember) -> Publication:
    """Return what stands under the member key, as `agent/member.py` builds it."""
    node = touch.node
    has_position = node.job is None and node.state in SAYS_POSITION
    in_recovery = has_position and node.is_in_recovery is True
    return Publication(
        conn_url=conn_url(node.name),
        api_url=f"http://{node.name}:8008/patroni",
        state=node.state,
        role=node.role,
        version="4.1.4",
        is_checkpoint_pending=touch.is_leader and not node.is_checkpointed,
        lsn=node.lsn if has_position else None,
        replay_lsn=node.replay_lsn if in_recovery else None,
        receive_lsn=node.receive_lsn if in_recovery else None,
        replication_state=node.replication_state if in_recovery else None,
        timeline=node.timeline if has_position and _says_timeline(node) else None,
    )


def conn_url(name: str) -> str:
    """Return where this node's Postgres is reached."""
    return f"postgres://{name}:5432/postgres"


def _says_timeline(node: Node) -> bool:
    return node.timeline is not None
