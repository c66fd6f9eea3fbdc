"""The speech detectors."""
