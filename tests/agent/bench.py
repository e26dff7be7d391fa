"""A lease keeper with its fence, on clocks that the tests move."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from patroni.agent.event import Payload
from patroni.agent.lease_keeper import LeaseKeeper, Renewal, Renewed
from patroni.dcs.store import Session
from patroni.decision.cluster import Incarnation, Leader, Revision, SessionId, Token
from patroni.decision.lease import Instant, Proof
from patroni.fence.client import InProcessFence

TTL_S = 10.0
SESSION = Session(id=SessionId("s1"), ttl_s=TTL_S)
LOCK = Incarnation("lock 1")
OURS = Leader(name="a", incarnation=LOCK, token=Token("1"), revision=Revision(1), session=SESSION.id)


@dataclass
class Bench:
    """A keeper with its fence, and a clock that only the test moves."""

    now_s: float = 1000.0
    done: list[str] = field(default_factory=list)
    told: list[Payload] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fence = InProcessFence(lambda: self.done.append("quit"), lambda: self.done.append("kill"))
        self.keeper = LeaseKeeper(
            "a", self.fence, ttl_s=TTL_S, emit=lambda _, said: self.told.append(said), chance=random.Random(1)
        )

    def now(self) -> Instant:
        return Instant(boot_s=self.now_s, raw_s=self.now_s)

    def renewal(self) -> Renewal:
        """Step until a renewal is due; give the turn that is asked for."""
        order = self.keeper.step(self.now())
        if order.renewal is None:
            self.keeper.turned(is_against_leading=False)
            order = self.keeper.step(self.now())
        assert order.renewal is not None, order
        return order.renewal

    def opened(self) -> None:
        self.keeper.renewed(self.renewal(), Renewed(sent=self.now(), session=SESSION))

    def proof(self, sent_s: float | None = None) -> Proof:
        sent = self.now_s if sent_s is None else sent_s
        return Proof(
            sent=Instant(boot_s=sent, raw_s=sent),
            ttl_s=TTL_S,
            incarnation=LOCK,
            session=SESSION.id,
            token=Token("1"),
            revision=Revision(1),
        )

    def leading(self) -> None:
        self.opened()
        proof = self.proof()
        assert self.fence.arm(proof)
        self.keeper.take(proof, if_epoch=self.keeper.epoch)

    def prove(self) -> None:
        sent = self.now()
        self.keeper.renewed(self.renewal(), Renewed(sent=sent, session=SESSION, lock=(Token("2"), Revision(2))))
