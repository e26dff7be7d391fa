"""Watchers: every change is seen, soon, and a broken stream begins anew with the whole prefix."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from patroni.dcs.store import DcsUnavailable, Delete, Snapshot, Write, perform
from tests.contract.site import PATIENCE_S, TIMEOUT_S, Site, await_snapshot

SOON_S = 2.0  # generous: what is meant is some tens of milliseconds


def test_the_first_look_comes_at_once(site: Site) -> None:
    watcher = site.watcher()
    first = watcher.next(TIMEOUT_S)
    assert first is not None and not first.entries
    made = site.create("leader", "a")
    first = site.watcher().next(TIMEOUT_S)
    assert first is not None and first.entries == {made.key: made}


def test_nothing_new_is_none(site: Site) -> None:
    watcher = site.watcher()
    assert watcher.next(TIMEOUT_S) is not None
    assert watcher.next(0.2) is None
    perform(site.store, Write(site.prefix[:-1] + "2/leader", "a"), TIMEOUT_S)  # a neighbour's
    assert watcher.next(0.2) is None
    perform(site.store, Delete(site.prefix[:-1] + "2/leader"), TIMEOUT_S)


def test_every_kind_of_change_is_seen_soon(site: Site) -> None:
    watcher = site.watcher()
    watcher.next(TIMEOUT_S)
    made = site.create("leader", "a")
    _check_seen(site, watcher.next(SOON_S))
    written = perform(site.store, Write(made.key, "b"), TIMEOUT_S)
    _check_seen(site, watcher.next(SOON_S))
    written = perform(site.store, Write(made.key, "b"), TIMEOUT_S)  # the same value is a new version
    _check_seen(site, watcher.next(SOON_S))
    perform(site.store, Delete(made.key, written.token), TIMEOUT_S)
    _check_seen(site, watcher.next(SOON_S))


def _check_seen(site: Site, snapshot: Snapshot | None) -> None:
    assert snapshot is not None
    assert snapshot.entries == site.read().entries


def test_a_waiting_watcher_is_woken(site: Site) -> None:
    """The change comes while `next` waits, from another client."""
    watcher, other = site.watcher(), site.client()
    watcher.next(TIMEOUT_S)
    seen: list[Snapshot | None] = []
    waiting = threading.Thread(target=lambda: seen.append(watcher.next(PATIENCE_S)))
    waiting.start()
    began_s = time.monotonic()
    perform(other, Write(site.key("config"), "1"), TIMEOUT_S)
    waiting.join(PATIENCE_S)
    assert time.monotonic() - began_s < SOON_S
    assert seen[0] is not None and site.key("config") in seen[0].entries


def test_no_change_of_many_is_missed(site: Site) -> None:
    """Snapshots may skip versions, never the last one, and never go back."""
    watcher = site.watcher()
    watcher.next(TIMEOUT_S)
    last = 60

    def write() -> None:
        other = site.client()
        for number in range(last + 1):
            perform(other, Write(site.key("status"), str(number)), TIMEOUT_S)

    writing = threading.Thread(target=write)
    writing.start()
    seen: list[int] = []
    revisions = []
    while not seen or seen[-1] != last:
        snapshot = watcher.next(TIMEOUT_S)
        assert snapshot is not None
        revisions.append(snapshot.revision)
        seen.append(int(snapshot.entries[site.key("status")].value))
    writing.join()
    assert seen == sorted(set(seen))
    known = [revision for revision in revisions if revision is not None]
    assert known == sorted(known)
    assert len(known) == (len(revisions) if site.store.has_revision else 0)


def test_watchers_do_not_disturb_each_other(site: Site) -> None:
    watchers = [site.watcher(), site.watcher(), site.watcher(site.client())]
    for watcher in watchers:
        watcher.next(TIMEOUT_S)
    made = site.create("leader", "a")
    for watcher in watchers:
        snapshot = watcher.next(SOON_S)
        assert snapshot is not None and snapshot.entries == {made.key: made}


def test_an_expiry_is_seen(site: Site) -> None:
    watcher = site.watcher()
    session = site.open()
    site.create("leader", "a", session)
    await_snapshot(watcher, lambda snapshot: site.key() in snapshot.entries)
    snapshot = watcher.next(session.ttl_s + site.harness.expiry_bound_s)
    assert snapshot is not None and not snapshot.entries


def test_close_ends_a_wait(site: Site) -> None:
    watcher = site.watcher()
    watcher.next(TIMEOUT_S)
    ended = threading.Event()

    def wait() -> None:
        with suppress(DcsUnavailable):
            assert watcher.next(10 * PATIENCE_S) is None
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    watcher.close()
    assert ended.wait(PATIENCE_S)
