"""One module per migration, `v<number>_<subject>.py`."""
