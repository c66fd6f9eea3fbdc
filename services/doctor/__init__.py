"""`hushgate doctor`: check what `hushgate up` needs on this machine, or an endpoint, and print how to fix failures."""
