"""The Realtime session: its fields, how one is read, merged, locked and bounded. The only grammar of it in the tree."""
