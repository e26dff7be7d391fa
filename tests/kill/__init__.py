"""The random-kill run: components of a real cluster are killed for minutes while a client writes through HAProxy."""

from __future__ import annotations
