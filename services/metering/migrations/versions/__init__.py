"""One file for each step, `v<number>_<what>.py`."""
