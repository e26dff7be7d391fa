"""One query of Postgres for all who ask at the same time (design.md §6).

Promised: at most one query is under way, however many checks wait and however long Postgres hangs; nobody waits longer than
`within_s` from the query's start, over it is a failed query (contract/rest_api.md §15, fix 13); an answer is shared for
`reuse_s` from the start of its query, so checks cost at most 1/reuse_s statements a second. Lives on the server's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from patroni.postgres.request import Monitoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a query brought; times are the loop's."""

    monitoring: Monitoring | None  # None: it failed
    began_s: float
    took_s: float


class SharedProbe:
    """The single flight. `query` blocks in a thread of its own and answers None when Postgres gave no answer."""

    def __init__(self, query: Callable[[], Monitoring | None], within_s: float, reuse_s: float) -> None:
        self._query = query
        self._within_s = within_s
        self._reuse_s = reuse_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rest-probe")
        self._last: Result | None = None
        self._flight: asyncio.Task[Result] | None = None
        self._began_s = 0.0

    def recent(self, now_s: float) -> Result | None:
        """Return the last answer while it may be shared."""
        last = self._last
        return last if last is not None and now_s - last.began_s < self._reuse_s else None

    async def fetch(self) -> Result:
        """Return the answer of the query under way, or of a new one."""
        loop = asyncio.get_running_loop()
        if self._flight is None:
            self._began_s = loop.time()
            self._flight = loop.create_task(self._fly(loop))
        left_s = self._began_s + self._within_s - loop.time()
        try:
            return await asyncio.wait_for(asyncio.shield(self._flight), left_s)
        except TimeoutError:
            return Result(monitoring=None, began_s=self._began_s, took_s=self._within_s)

    async def _fly(self, loop: asyncio.AbstractEventLoop) -> Result:
        began_s = self._began_s
        try:
            monitoring = await loop.run_in_executor(self._executor, self._query)
        finally:
            self._flight = None
        self._last = Result(monitoring=monitoring, began_s=began_s, took_s=loop.time() - began_s)
        return self._last

    def close(self) -> None:
        """Begin no more queries; one that hangs is left alone."""
        self._executor.shutdown(wait=False, cancel_futures=True)
