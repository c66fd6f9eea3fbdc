"""Decisions of the media plane, sans-IO."""
