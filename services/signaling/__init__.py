"""The public HTTP door: tokens, offers, placement, the page."""
