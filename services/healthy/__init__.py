"""`hushgate healthy`: asks the service of this container whether it lives."""
