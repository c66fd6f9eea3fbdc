"""Decisions of signaling, sans-IO."""
