"""The embedded provider: a Realtime server with a local voice."""
