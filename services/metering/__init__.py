"""Books usage events into the ledger; serves usage over HTTP and its sums to Prometheus."""
