"""Realtime sessions with the provider."""
