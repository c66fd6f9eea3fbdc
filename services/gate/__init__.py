"""`hushgate gate`: what the gate does with recordings, and settings suggested from labelled ones."""
