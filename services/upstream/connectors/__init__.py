"""One file per provider wire."""
