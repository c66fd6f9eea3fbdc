"""Synthetic WebRTC callers."""
