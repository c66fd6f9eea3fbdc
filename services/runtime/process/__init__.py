"""Start, supervision and shutdown of a process."""
