"""The fence: the guard, its page and sweeps, the Linux watchdog."""
