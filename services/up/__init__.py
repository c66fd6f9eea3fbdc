"""One machine: nats-server and the services as child processes."""
