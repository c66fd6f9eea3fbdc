"""Usage events to a ledger to Prometheus."""
