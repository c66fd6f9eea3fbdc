"""The rehearsal's sessions, responses and bills, sans-IO."""
