"""The demonstration: three agents with real servers behind HAProxy, watched by a person or checked without one."""
