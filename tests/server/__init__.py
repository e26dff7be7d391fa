"""Scenarios on real servers."""
