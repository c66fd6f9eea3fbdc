"""The public HTTP API: tokens, calls, placement, usage and the demo page."""
