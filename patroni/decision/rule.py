"""The form of every rule: a pure function from the view to a decision, or to None where another rule has to say.

A situation is an ordered list of rules; the first that applies wins. Nothing is carried between them but the view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from patroni.decision.actions import Action
from patroni.decision.reasons import Reason
from patroni.decision.view import Decision, Memory, View

Rule = Callable[[View], Decision | None]


def act(view: View, why: Reason, *actions: Action, memory: Memory | None = None, within_s: float | None = None) -> Decision:
    """Return a decision; it asks again after loop_wait, or within so many seconds if that is earlier.

    memory: None: as the view has it.
    """
    loop_wait_s = view.settings.loop_wait_s
    wake_in_s = loop_wait_s if within_s is None else min(loop_wait_s, max(0.0, within_s))
    return Decision(actions=actions, because=why, memory=memory or view.memory, wake_at_s=view.now_s + wake_in_s)


def first(view: View, rules: Iterable[Rule]) -> Decision | None:
    """Return what the first rule that applies says; None: none applies."""
    for rule in rules:
        decision = rule(view)
        if decision is not None:
            return decision
    return None
