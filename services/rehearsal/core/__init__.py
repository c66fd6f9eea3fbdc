"""What the rehearsal says and bills, sans-IO."""
