"""YAML, environment and the store's config key to one typed, immutable record."""

from __future__ import annotations
