"""Decisions and statistics of the load tool: no clock, no I/O."""
