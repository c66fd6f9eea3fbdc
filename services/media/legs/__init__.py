"""The kinds of leg a call can have."""
