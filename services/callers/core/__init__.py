"""What the load rig decides and counts: no clock, no I/O."""
