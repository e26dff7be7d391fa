"""The store: it ends sessions late, and carries out requests when it likes, also those that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.node import NONE, Bug, Chain, Effect, Ghost, Known, Move, Node, Phase, Renewal, World, without_lock


def session_ends(n: Node, world: World) -> Iterator[Move]:
    """Its time has passed: now, or any time later. The lock that hangs on it goes with it."""
    if n.session == 0:
        yield Move(
            "the store ends the session of {n}" + (", and its lock" if n.key else ""), without_lock(n)._replace(session=NONE)
        )


def renewal_arrives(n: Node, world: World) -> Iterator[Move]:
    """Prolong the session and look at the lock (safety_rules.md §2): one transaction. Its "no" is in keeper.py."""
    if n.renewal is Renewal.SENT and n.key and n.proof is Known.CURRENT:
        yield Move("the store renews the lease of {n}", n._replace(session=world.scope.ttl, renewal=Renewal.PROVED))


def create_arrives(n: Node, world: World) -> Iterator[Move]:
    """Create, never overwrite (§1.1), and only under a living session."""
    if n.chain is not Chain.CREATE:
        return
    if world.is_free and n.session != NONE:
        yield Move("the store gives the lock to {n}", n._replace(key=True, chain=Chain.WON), effect=Effect.TOOK)
    else:
        yield Move("the store refuses the lock to {n}", n._replace(chain=Chain.NONE, candidate=0, phase=Phase.IDLE))


def rewrite_arrives(n: Node, world: World) -> Iterator[Move]:
    """A rewrite compares the version that was read. The incarnation stays, every token of before is void (§1.4)."""
    if n.chain is Chain.ADOPT:
        ghost = Ghost.RELEASE_STALE if n.ghost is Ghost.RELEASE and not world.has(Bug.ADOPT_IN_PLACE) else n.ghost
        yield Move("the store rewrites the lock of {n}", n._replace(chain=Chain.WON, ghost=ghost, session=world.scope.ttl))
    elif n.chain is Chain.ADOPT_STALE:
        after = n._replace(chain=Chain.NONE, candidate=0, phase=Phase.IDLE)
        yield Move("the store refuses the rewrite of {n}: another version is there", after)


def release_arrives(n: Node, world: World) -> Iterator[Move]:
    """A release compares the version that was read (§1.2)."""
    done = n._replace(chain=Chain.NONE, phase=Phase.IDLE)
    if n.chain is Chain.RELEASE or (n.chain is Chain.RELEASE_STALE and n.key and world.has(Bug.RELEASE_BY_NAME)):
        yield Move("the store removes the lock of {n}", without_lock(done))
    elif n.chain is Chain.RELEASE_STALE:
        yield Move("the store finds nothing to release for {n}", done)


def ghost_arrives(n: Node, world: World) -> Iterator[Move]:
    """A request that its sender has given up, or that an earlier agent of the node sent, is carried out."""
    done = n._replace(ghost=Ghost.NONE)
    if n.ghost is Ghost.CREATE and world.is_free and n.session != NONE:
        text = "a create of {n} that nobody waits for gets the lock"
        yield Move(text, done._replace(key=True), effect=Effect.TOOK)
    elif n.ghost is Ghost.RELEASE or (n.ghost is Ghost.RELEASE_STALE and n.key and world.has(Bug.RELEASE_BY_NAME)):
        yield Move("a release of {n} that nobody waits for removes its lock", without_lock(done))
    elif n.ghost is not Ghost.NONE:
        yield Move("a late request of {n} does nothing", done)


RULES = (session_ends, renewal_arrives, create_arrives, rewrite_arrives, release_arrives, ghost_arrives)
