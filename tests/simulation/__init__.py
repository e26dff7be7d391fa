"""Whole clusters of the real code on a simulated world: one seeded queue of events, no threads, no real time (design.md §7)."""
