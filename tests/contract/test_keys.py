"""Keys: create, write, delete and read mean what `dcs/store.py` says, on every backend."""

from __future__ import annotations

import pytest

from patroni.dcs.store import (
    Create,
    Delete,
    DeletePrefix,
    LockRef,
    ReadPrefix,
    Refusal,
    Write,
    perform,
)
from tests.contract.site import TIMEOUT_S, Site, refused


def test_a_missing_prefix_is_an_empty_snapshot(site: Site) -> None:
    assert not site.read().entries
    assert not perform(site.store, ReadPrefix(site.prefix), TIMEOUT_S).entries


def test_an_answer_shows_what_the_snapshot_shows(site: Site) -> None:
    session = site.open()
    bound, permanent = site.create("leader", "a", session), site.create("config", "{}")
    assert (bound.session, permanent.session) == (session.id, None)
    assert site.read().entries == {bound.key: bound, permanent.key: permanent}


def test_a_linearizable_read_says_so(site: Site) -> None:
    assert site.read().is_linearizable


def test_a_read_shows_the_writes_before_it(site: Site) -> None:
    site.create("config", "1")
    for number in range(20):
        perform(site.store, Write(site.key("config"), str(number)), TIMEOUT_S)
        entry = site.entry("config")
        assert entry is not None and entry.value == str(number)


def test_a_prefix_ends_at_its_slash(site: Site) -> None:
    inside = site.create("batman/leader")
    site.create("batman2/leader")
    site.create("batman-/leader")
    snapshot = perform(site.store, ReadPrefix(site.key("batman/"), is_linearizable=True), TIMEOUT_S)
    assert list(snapshot.entries) == [inside.key]


def test_create_never_overwrites(site: Site) -> None:
    first = site.create("leader", "a")
    refused(site.store, Create(site.key(), "b"), Refusal.EXISTS)
    refused(site.store, Create(site.key(), "a"), Refusal.EXISTS)
    assert site.entry() == first


def test_an_empty_value_is_a_value(site: Site) -> None:
    site.create("initialize", "")
    entry = site.entry("initialize")
    assert entry is not None and entry.value == ""
    refused(site.store, Create(site.key("initialize"), "1"), Refusal.EXISTS)


def test_a_blind_write_creates_and_overwrites(site: Site) -> None:
    perform(site.store, Write(site.key("status"), "1"), TIMEOUT_S)
    written = perform(site.store, Write(site.key("status"), "2"), TIMEOUT_S)
    assert site.entry("status") == written
    assert written.value == "2"


def test_tokens_chain(site: Site) -> None:
    entry = site.create("sync", "0")
    tokens = {entry.token}
    for number in range(1, 6):
        entry = perform(site.store, Write(entry.key, str(number), token=entry.token), TIMEOUT_S)
        tokens.add(entry.token)
    assert len(tokens) == 6
    assert site.entry("sync") == entry


def test_an_old_token_changes_nothing(site: Site) -> None:
    old = site.create("sync", "0")
    new = perform(site.store, Write(old.key, "1", token=old.token), TIMEOUT_S)
    refused(site.store, Write(old.key, "2", token=old.token), Refusal.CHANGED)
    refused(site.store, Delete(old.key, old.token), Refusal.CHANGED)
    assert site.entry("sync") == new


def test_a_token_of_a_key_that_is_gone_creates_nothing(site: Site) -> None:
    old = site.create("sync", "0")
    perform(site.store, Delete(old.key, old.token), TIMEOUT_S)
    refused(site.store, Write(old.key, "1", token=old.token), Refusal.CHANGED)
    refused(site.store, Delete(old.key, old.token), Refusal.CHANGED)
    assert site.entry("sync") is None


def test_a_token_of_an_earlier_life_is_another_version(site: Site) -> None:
    """Each life of the key has as many writes as the other, so a counter of its own would not tell them apart."""
    old = site.create("leader", "a")
    perform(site.store, Delete(old.key, old.token), TIMEOUT_S)
    new = site.create("leader", "a")
    assert new.token != old.token
    refused(site.store, Delete(old.key, old.token), Refusal.CHANGED)
    refused(site.store, Write(old.key, "b", token=old.token), Refusal.CHANGED)
    assert site.entry() == new


def test_an_incarnation_lasts_until_the_key_is_created_anew(site: Site) -> None:
    created = site.create("leader", "a")
    written = perform(site.store, Write(created.key, "a", token=created.token), TIMEOUT_S)
    assert written.incarnation == created.incarnation
    perform(site.store, Delete(created.key, written.token), TIMEOUT_S)
    assert site.create("leader", "a").incarnation != created.incarnation


def test_delete_without_a_token(site: Site) -> None:
    site.create("initialize", "")
    perform(site.store, Delete(site.key("initialize")), TIMEOUT_S)
    perform(site.store, Delete(site.key("initialize")), TIMEOUT_S)  # what is gone already is no error
    assert site.entry("initialize") is None


def test_delete_prefix_takes_what_is_below_and_no_more(site: Site) -> None:
    for name in ("batman/leader", "batman/members/a", "batman/members/b"):
        site.create(name)
    neighbour = site.create("batman2/leader")
    for _ in range(2):
        perform(site.store, DeletePrefix(site.key("batman/")), TIMEOUT_S)
    assert list(site.read().entries) == [neighbour.key]


def test_revisions_rise_with_every_write(site: Site) -> None:
    if not site.store.has_revision:
        assert site.read().revision is None
        return
    revisions = [site.read().revision, site.create("config", "1").revision, site.create("status", "1").revision]
    written = perform(site.store, Write(site.key("config"), "2"), TIMEOUT_S)
    perform(site.store, Delete(site.key("status")), TIMEOUT_S)
    revisions += [written.revision, site.read().revision]
    known = [revision for revision in revisions if revision is not None]
    assert len(known) == len(revisions)
    assert known == sorted(set(known))


def test_the_store_keeps_its_identity(site: Site) -> None:
    assert site.read().store_id == site.read(site.client()).store_id


@pytest.mark.parametrize(
    "name",
    [
        "members/Node-1.DC",
        "members/node 1",
        "members/n%C3%A9%%_*?[a]",
        "members/'\";--\\",
        "members/héron-鷺-🐘",
        "members/e\u0301",
        "members/" + "x" * 200,
    ],
    ids=lambda name: ascii(name)[:20],
)
def test_odd_names(site: Site, name: str) -> None:
    made = site.create(name, name)
    assert site.read().entries == {made.key: made}
    written = perform(site.store, Write(made.key, "b", token=made.token), TIMEOUT_S)
    perform(site.store, Delete(made.key, written.token), TIMEOUT_S)
    assert not site.read().entries


@pytest.mark.parametrize(
    "value", ["\n", " ", "é鷺🐘", "a\r\nb\tc", "'\"\\%", "5", "null", "x" * 200_000], ids=lambda value: ascii(value)[:20]
)
def test_odd_values_come_back_as_they_are(site: Site, value: str) -> None:
    site.create("config", value)
    entry = site.entry("config")
    assert entry is not None and entry.value == value


def test_names_differ_in_case_and_in_form(site: Site) -> None:
    names = ["members/a", "members/A", "members/\u00e9", "members/e\u0301"]
    for name in names:
        site.create(name, name)
    assert {entry.value for entry in site.read().entries.values()} == set(names)


def test_under_a_lock_that_stands(site: Site) -> None:
    if not site.store.can_write_under:
        return  # the coordinator's lease alone guards such a write (safety_rules.md §6)
    lock = site.create("leader", "a", site.open())
    under = LockRef(key=lock.key, incarnation=lock.incarnation)
    created = perform(site.store, Write(site.key("status"), "1", under=under), TIMEOUT_S)
    perform(site.store, Write(created.key, "2", token=created.token, under=under), TIMEOUT_S)
    refused(site.store, Write(created.key, "3", token=created.token, under=under), Refusal.CHANGED)
    entry = site.entry("status")
    assert entry is not None and entry.value == "2"


def test_under_a_lock_that_is_another(site: Site) -> None:
    if not site.store.can_write_under:
        return
    lock = site.create("leader", "a", site.open())
    under = LockRef(key=lock.key, incarnation=lock.incarnation)
    status = site.create("status", "1")
    perform(site.store, Delete(lock.key, lock.token), TIMEOUT_S)
    refused(site.store, Write(status.key, "2", under=under), Refusal.NOT_OURS)
    site.create("leader", "a", site.open())
    refused(site.store, Write(status.key, "2", under=under), Refusal.NOT_OURS)
    refused(site.store, Write(status.key, "2", token=status.token, under=under), Refusal.NOT_OURS)
    assert site.entry("status") == status
