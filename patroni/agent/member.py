"""What this node publishes under its member key, from what was observed and configured (contract/ha_behaviour.md §7.1)."""

from __future__ import annotations

from patroni.agent.configure import postgres_config
from patroni.agent.order import TouchMember
from patroni.config.settings import Configuration
from patroni.dcs.member import Publication
from patroni.decision.cluster import PostgresState
from patroni.decision.node import Node
from patroni.rest.config import RestConfig
from patroni.version import COMPATIBILITY

SAYS_POSITION = (PostgresState.RUNNING, PostgresState.RESTARTING, PostgresState.STARTING)


def publication(touch: TouchMember, configuration: Configuration, rest: RestConfig) -> Publication:
    """Build what stands under the member key; rest: what the REST API serves by now."""
    node = touch.node
    has_position = says_position(node)
    in_recovery = has_position and node.is_in_recovery is True
    return Publication(
        conn_url=conn_url(configuration),
        api_url=api_url(rest),
        state=node.state,
        role=node.role,
        version=COMPATIBILITY,
        is_checkpoint_pending=touch.is_leader and not node.is_checkpointed,
        tags=configuration.settings.tags.published,
        lsn=node.lsn if has_position else None,
        replay_lsn=node.replay_lsn if in_recovery else None,
        receive_lsn=node.receive_lsn if in_recovery else None,
        replication_state=node.replication_state if in_recovery else None,
        timeline=node.timeline if has_position else None,
        is_paused=configuration.settings.is_paused,
    )


def says_position(node: Node) -> bool:
    """Return whether positions and timeline are published: not while a job may change them, or nothing runs."""
    return node.job is None and node.state in SAYS_POSITION


def conn_url(configuration: Configuration) -> str:
    """Return where other nodes connect: host and port always, never credentials (contract/dcs.md §1.5)."""
    config = postgres_config(configuration)
    host = config.connect_host or config.local_host
    return f"postgres://{_bracketed(host)}:{config.connect_port or config.port}/{config.database}"


def api_url(rest: RestConfig) -> str:
    """Return where peers ask for our status."""
    address = rest.connect_address or f"{_bracketed(rest.host or 'localhost')}:{rest.port}"
    return f"{'https' if rest.tls else 'http'}://{address}/patroni"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
