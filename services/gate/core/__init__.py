"""Decisions of `hushgate gate`: decoding, figures, labels, the search for settings."""
