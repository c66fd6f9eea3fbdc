"""The NATS bus: connection, streams, buckets, and frames that survive a reconnect."""
