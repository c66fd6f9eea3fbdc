"""`hushgate load`: many callers at once, and what they saw."""
