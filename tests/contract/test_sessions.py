"""Sessions: what hangs on one vanishes with it, never before the ttl is over and not long after."""

from __future__ import annotations

import threading

import pytest

from patroni.dcs.store import Create, EndSession, Refusal, RenewSession, Session, Write, perform
from patroni.decision.lease import elapsed_s
from tests.contract.harness import now
from tests.contract.site import TIMEOUT_S, Site, await_snapshot, refused


def test_the_granted_ttl_is_not_shorter_than_asked(site: Site) -> None:
    session = site.open()
    assert session.ttl_s >= site.harness.ttl_s
    assert site.renew(session).ttl_s == session.ttl_s


def test_sessions_differ(site: Site) -> None:
    assert len({site.open().id for _ in range(5)}) == 5


@pytest.mark.parametrize("renewals", [0, 3], ids=["as opened", "renewed"])
def test_expiry_is_never_early_and_not_long_late(site: Site, renewals: int) -> None:
    """The clock runs from before the last renewal was sent, as the lease does."""
    sent = now()
    session = site.open()
    site.create("leader", "a", session)
    site.create("members/a", "{}", session)
    site.create("config", "{}")
    watcher = site.watcher()
    for _ in range(renewals):
        pause = now()
        while elapsed_s(pause, now()) < session.ttl_s / 2:
            watcher.next(session.ttl_s / 2)
        assert site.entry() is not None
        sent = now()
        session = site.renew(session)
    await_snapshot(watcher, lambda snapshot: site.key() not in snapshot.entries)
    took_s = elapsed_s(sent, now())
    assert session.ttl_s <= took_s <= session.ttl_s + site.harness.expiry_bound_s
    await_snapshot(site.watcher(), lambda snapshot: list(snapshot.entries) == [site.key("config")])


def test_an_expired_session_is_gone(site: Site) -> None:
    session = site.open()
    site.create("leader", "a", session)
    await_snapshot(site.watcher(), lambda snapshot: not snapshot.entries)
    _check_gone(site, session)


def test_an_expiry_needs_nobody_who_looks(site: Site) -> None:
    """Nothing at all is asked between the last renewal and the create that wins."""
    other = site.open(ttl_s=60.0)
    session = site.open()
    site.create("leader", "a", session)
    threading.Event().wait(session.ttl_s + site.harness.expiry_bound_s)  # that time passes is the condition
    assert site.create("leader", "b", other).value == "b"


def test_an_ended_session_takes_its_keys_with_it(site: Site) -> None:
    session, other = site.open(ttl_s=60.0), site.open(ttl_s=60.0)
    site.create("leader", "a", session)
    site.create("members/a", "{}", session)
    kept = [site.create("members/b", "{}", other), site.create("config", "{}")]
    for _ in range(2):  # a session that does not exist is no error
        perform(site.store, EndSession(session.id), TIMEOUT_S)
    assert site.read().entries == {entry.key: entry for entry in kept}
    _check_gone(site, session)


def _check_gone(site: Site, session: Session) -> None:
    refused(site.store, RenewSession(session.id), Refusal.SESSION_GONE)
    refused(site.store, Create(site.key("other"), "a", session.id), Refusal.SESSION_GONE)
    refused(site.store, Write(site.key("other"), "a", session.id), Refusal.SESSION_GONE)
    assert site.key("other") not in site.read().entries


def test_a_write_binds_to_its_session(site: Site) -> None:
    old, new = site.open(ttl_s=60.0), site.open(ttl_s=60.0)
    made = site.create("leader", "a", old)
    bound = perform(site.store, Write(made.key, "a", new.id, made.token), TIMEOUT_S)
    assert bound.session == new.id
    perform(site.store, EndSession(old.id), TIMEOUT_S)
    assert site.entry() == bound
    perform(site.store, EndSession(new.id), TIMEOUT_S)
    assert site.entry() is None


def test_a_write_without_a_session_makes_permanent(site: Site) -> None:
    session = site.open(ttl_s=60.0)
    made = site.create("status", "1", session)
    written = perform(site.store, Write(made.key, "2"), TIMEOUT_S)
    perform(site.store, EndSession(session.id), TIMEOUT_S)
    assert written.session is None
    assert site.entry("status") == written


def test_one_client_may_renew_what_another_opened(site: Site) -> None:
    """The keeper and the workers have connections of their own."""
    session = site.open()
    assert site.renew(session, site.client()).id == session.id
