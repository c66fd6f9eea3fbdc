"""`hushgate load`: many callers at once, with statistics."""
