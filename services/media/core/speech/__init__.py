"""Speech detection and the gate."""
