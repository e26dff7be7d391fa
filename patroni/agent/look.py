"""Looks: when to observe what. Every look has one request under way at most and a time after which it counts as lost.

A look at the data directory, or at a peer, is never lost: its worker tells whatever comes of it, and on a dead disk, or
with dead name servers, one that hangs is enough.

Idle, a node looks once a loop_wait; it looks more often while something is expected (a start, a promotion, a stop, a free
leader key), because nothing else would tell. Costs at rest: issue's figures in `script/bench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from patroni.agent import order
from patroni.agent.observe import Observed
from patroni.agent.order import Order
from patroni.decision.actions import Demote, StopPostgres
from patroni.decision.cluster import PostgresState, Role
from patroni.decision.lease import Instant, elapsed_s
from patroni.decision.node import Process
from patroni.decision.settings import Settings

SOON_S = 0.1
EARLY = 0.25  # share of its period by which a look may come early, to be made together with one that is due
UNANSWERED_S = 1.0  # after a query without an answer
RESTREAM_S = 0.2
RESTREAM_WITHIN_S = 10.0  # after an effect a standby that does not stream is looked at often for so long
LOST_S = 10.0  # a look that has not answered for so long is asked again
STORE_RETRY_S = 1.0
PEER_S = 2.0  # limit of one question to a peer
WATCH_TRUST_S = 30.0  # a watch that said nothing for so long is checked by a read


@dataclass(slots=True)
class _Look:
    """One sort of look: when it was last asked, and whether that is still under way."""

    asked: Instant | None = None
    is_under_way: bool = False

    def is_free(self, now: Instant) -> bool:
        return not self.is_under_way or self.asked is None or elapsed_s(self.asked, now) > LOST_S

    def ask(self, now: Instant) -> None:
        self.asked, self.is_under_way = now, True

    def forget(self, asked: Instant) -> None:
        """Look again if it was asked then."""
        if self.asked == asked:
            self.asked, self.is_under_way = None, False


class Looks:
    """Which looks are under way and which are due."""

    def __init__(self) -> None:
        self._files = _Look()
        self._query = _Look()
        self._store = _Look()
        self._history = _Look()

    def forget(self, observed: Observed, asked: Instant) -> None:
        """Ask again for all that was asked for then: it may not have been handed out."""
        for look in (self._files, self._query, self._store, self._history):
            look.forget(asked)
        for name in [name for name, at in observed.asked.items() if at == asked]:
            del observed.asked[name]

    def orders(self, observed: Observed, settings: Settings, now: Instant) -> list[Order]:
        """Return the looks that are due now, and those that soon will be: one turn takes the answers of all."""
        self._settle(observed)
        orders = self._due(observed, settings, now, early=0.0)
        return [*orders, *self._due(observed, settings, now, early=EARLY)] if orders else []

    def _due(self, observed: Observed, settings: Settings, now: Instant, *, early: float) -> list[Order]:
        """Return the looks that are due in this share of their period, or now; those under way are not."""
        orders: list[Order] = []
        files_s, query_s = _files_period_s(observed, settings), _query_period_s(observed, settings, now)
        if not self._files.is_under_way and _due_in_s(observed.files_at, files_s, now) <= early * files_s:
            self._files.ask(now)
            orders.append(order.LookAtFiles())
        is_query_due = _may_query(observed) and _due_in_s(observed.monitoring_at, query_s, now) <= early * query_s
        if self._query.is_free(now) and is_query_due:
            self._query.ask(now)
            orders.append(_query(observed))
        if self._store.is_free(now) and self._store_due_in_s(observed, settings, now) <= 0:
            orders.extend(self.read_store(now))
        return [*orders, *self._leader_check(observed, (1.0 - early) * settings.loop_wait_s, now)]

    def read_store(self, now: Instant) -> list[Order]:
        """Order a linearizable read, one at a time."""
        if not self._store.is_free(now):
            return []
        self._store.ask(now)
        return [order.ReadStore(is_linearizable=True)]

    def ask_history(self, wanted: order.AskLeaderHistory, now: Instant) -> list[Order]:
        """Order this question, one at a time."""
        if self._history.is_under_way:
            return []
        self._history.ask(now)
        return [wanted]

    def ask(
        self, observed: Observed, names: tuple[str, ...], now: Instant, gone: Mapping[str, str] | None = None
    ) -> list[Order]:
        """Order questions to these members, each at most once at a time: one whose name is not resolved may take long.

        gone: the last known address of those whose member key is gone, by name.
        """
        orders: list[Order] = []
        last_known = gone or {}
        for name in names:
            if name in observed.asked:
                continue
            member = observed.cluster.members.get(name) if observed.cluster else None
            api_url = member.api_url if member is not None else last_known.get(name)
            if api_url is not None:
                observed.asked[name] = now
                orders.append(order.AskPeer(name=name, api_url=api_url))
        return orders

    def due_at_s(self, observed: Observed, settings: Settings, now: Instant) -> float:
        """Return when the next look is due, on CLOCK_BOOTTIME."""
        self._settle(observed)
        waits_s = [settings.loop_wait_s]
        if not self._files.is_under_way:
            waits_s.append(_due_in_s(observed.files_at, _files_period_s(observed, settings), now))
        if not self._query.is_under_way and _may_query(observed):
            waits_s.append(_due_in_s(observed.monitoring_at, _query_period_s(observed, settings, now), now))
        if not self._store.is_under_way:
            waits_s.append(self._store_due_in_s(observed, settings, now))
        return now.boot_s + max(0.0, min(waits_s))

    def _settle(self, observed: Observed) -> None:
        """Take note of the looks that have answered: an answer is filed with an instant after its question."""
        for look, answered in (
            (self._files, observed.files_answered_at),
            (self._query, observed.monitoring_answered_at),
            (self._store, observed.store_answered_at),
            (self._history, observed.leader_history[0] if observed.leader_history else None),
        ):
            if look.asked is not None and answered is not None and elapsed_s(look.asked, answered) >= 0:
                look.is_under_way = False

    def _store_due_in_s(self, observed: Observed, settings: Settings, now: Instant) -> float:
        """Return when to read the store by ourselves: the watch and the proofs normally tell everything."""
        if observed.cluster is None or observed.store_silent_since is not None:
            return _due_in_s(self._store.asked, STORE_RETRY_S, now)
        by_age_s = _due_in_s(observed.cluster_began, _view_period_s(settings), now)
        if observed.behind_since is None:
            return by_age_s
        return min(by_age_s, _due_in_s(observed.behind_since, settings.loop_wait_s, now))

    def _leader_check(self, observed: Observed, period_s: float, now: Instant) -> list[Order]:
        """Ask the leader once a period, so that a silent one is known before its key expires (safety_rules.md §9)."""
        leader = observed.cluster.leader_name if observed.cluster else None
        if leader is None or leader == observed.name:
            return []
        known = observed.peers.get(leader)
        if known is not None and elapsed_s(known[0], now) < period_s:
            return []
        return self.ask(observed, (leader,), now)


def _view_period_s(settings: Settings) -> float:
    """Return how old the view may become: after ttl it would count as none (contract/rest_api.md §1)."""
    return max(settings.loop_wait_s, min(WATCH_TRUST_S, 0.75 * settings.ttl_s))


def _due_in_s(at: Instant | None, period_s: float, now: Instant) -> float:
    return 0.0 if at is None else period_s - elapsed_s(at, now)


def _is_stopping(observed: Observed) -> bool:
    return observed.job is not None and isinstance(observed.job.action, Demote | StopPostgres)


def _files_period_s(observed: Observed, settings: Settings) -> float:
    if _is_stopping(observed):
        return SOON_S
    if observed.files is not None and observed.files.process is Process.UNKNOWN:
        return SOON_S
    is_new_primary = observed.role in (Role.PROMOTED, Role.PRIMARY) and _lacks_checkpoint(observed)
    return min(1.0, settings.loop_wait_s) if is_new_primary else settings.loop_wait_s


def _lacks_checkpoint(observed: Observed) -> bool:
    monitoring, files = observed.monitoring, observed.files
    if monitoring is None or monitoring.is_in_recovery or files is None or files.control is None:
        return False
    return files.control.timeline != monitoring.timeline


def _may_query(observed: Observed) -> bool:
    """Whether a query can be answered: something lives, and nobody is stopping it."""
    is_alive = observed.files is not None and observed.files.process is Process.ALIVE
    return is_alive and not _is_stopping(observed)


def _query_period_s(observed: Observed, settings: Settings, now: Instant) -> float:
    is_expecting = observed.role is Role.PROMOTED or observed.state is PostgresState.STARTING
    if observed.monitoring is None and not is_expecting:
        return min(UNANSWERED_S, settings.loop_wait_s)
    if is_expecting:
        return SOON_S
    if _is_restreaming(observed, now):
        return RESTREAM_S
    is_free = observed.cluster is not None and observed.cluster.leader is None
    return min(0.5, settings.loop_wait_s) if is_free else settings.loop_wait_s


def _is_restreaming(observed: Observed, now: Instant) -> bool:
    """Whether a standby was started or pointed at its upstream just now and does not stream on the leader's timeline yet."""
    seen = observed.monitoring
    ended = [last[0] for last in (observed.last_chain, observed.last_job) if last is not None]
    is_lately = any(elapsed_s(at, now) < RESTREAM_WITHIN_S for at in ended)
    if seen is None or not seen.is_in_recovery or not is_lately:
        return False
    is_unknown = observed.local_timeline is None  # a receiver says none before it has got any WAL
    return seen.replication_state != "streaming" or is_unknown or _is_on_older_timeline(observed)


def _is_on_older_timeline(observed: Observed) -> bool:
    """Whether the own timeline, as far as it is known, is one that the leader has left: peers would call us unfit for it."""
    leader = observed.cluster.members.get(observed.cluster.leader_name or "") if observed.cluster else None
    mine = observed.local_timeline
    return leader is not None and leader.timeline is not None and mine is not None and mine < leader.timeline


def _query(observed: Observed) -> Order:
    """Return the query with what else is wanted of Postgres now."""
    seen = observed.monitoring
    is_primary = seen is not None and not seen.is_in_recovery
    timeline = seen.timeline if seen is not None else None
    wants_history = is_primary and timeline is not None and timeline > 1 and observed.history_timeline != timeline
    lacks_timeline = seen is not None and seen.is_in_recovery and timeline is None
    return order.QueryPostgres(asks_timeline=lacks_timeline, history_of=timeline if wants_history else None)
