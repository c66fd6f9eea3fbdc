"""`hushgate healthy`: checks `/healthz` of the services in this container."""
