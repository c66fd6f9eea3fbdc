"""`hushgate up`: nats-server and all services on one machine, as child processes."""
