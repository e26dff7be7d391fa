"""The store as patronictl opens it: read only unless a command says so, never with a session (contract/cli.md §2.11).

The embedded store's file belongs to the agents' user. Root becomes that user before it opens the file, so that it leaves
nothing behind that the agents cannot write; a file that no agent made yet is not made here.
"""

from __future__ import annotations

import codecs
import os
import pwd

from patroni.config.dynamic import Timing as ConfiguredTiming
from patroni.config.sections import StoreSection
from patroni.dcs.local import LocalStore
from patroni.dcs.local_file import file_path, owner_uid
from patroni.dcs.store import Clock, Store, StoreConfigError, Timing
from patroni.dcs.stores import open_store


def open_for_tool(section: StoreSection, timing: ConfiguredTiming, clock: Clock) -> Store:
    """Open the store; raise StoreConfigError, one line, where its section cannot be used."""
    derived = Timing(ttl_s=timing.ttl_s, loop_wait_s=timing.loop_wait_s, retry_timeout_s=timing.retry_timeout_s)
    if section.kind == "local":
        _become_owner(section)
        return LocalStore(section.values, timing=derived, clock=clock)  # imported before: the owner may not read the checkout
    return open_store(section.kind, section.values, timing=derived, clock=clock)


def _become_owner(section: StoreSection) -> None:
    uid = owner_uid(section.values)
    if uid is None:
        raise StoreConfigError(f"local.path: there is no {file_path(section.values)}; the first agent to start makes it")
    if os.geteuid() != 0 or uid == 0:
        return
    try:
        user = pwd.getpwuid(uid)
    except KeyError as error:
        raise StoreConfigError(f"local.path: {file_path(section.values)}: no user has its owner's uid {uid}") from error
    for codec in ("ascii", "idna"):
        codecs.lookup(codec)  # now: the owner may not read the files of this Python, either
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
