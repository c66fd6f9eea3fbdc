"""Hushgate's services, each a package that talks to the others only over the bus."""
