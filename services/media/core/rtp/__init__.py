"""RTP both ways: packets, jitter buffer, frames, pacing, encoder settings."""
