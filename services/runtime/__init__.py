"""What every process needs: settings, bus, clock, logs, health, outbox. Imports contracts only."""
