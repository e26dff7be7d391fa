"""decide: the view of one moment to the decision for it. Pure; reading the lists top to bottom is reading the rules."""

from __future__ import annotations
