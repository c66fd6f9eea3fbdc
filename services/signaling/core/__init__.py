"""Sans-IO core of signaling."""
