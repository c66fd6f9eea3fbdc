"""Usage events on disk until metering has booked them."""
