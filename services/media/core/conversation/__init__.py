"""A call's session as media sees it: events up and down, playout, truncation, deadlines."""
