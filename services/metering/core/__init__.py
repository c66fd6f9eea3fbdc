"""Pricing and booking, sans-IO."""
