"""Upstream workers: own calls and hold their Realtime sessions with the provider."""
