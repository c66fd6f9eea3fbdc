"""Decisions of a session, sans-IO."""
