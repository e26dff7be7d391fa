"""Tests, one directory a kind."""
