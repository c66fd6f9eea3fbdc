"""Sans-IO core of metering: pricing and booking."""
