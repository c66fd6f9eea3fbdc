"""Service level objectives; the alerts of `deploy/helm/rules` use the same numbers, and a test compares them."""

SETUP_SUCCESS = 0.995
SETUP_P95_S = 2.0
TURN_P50_S = 0.8
TURN_P95_S = 1.5
"""Both with a provider that answers after 500 ms."""
DROPPED_CALLS = 0.005
ADDED_P95_S = 0.06
PACKET_LOSS = 0.03
"""Packet loss that concealment hides inaudibly (docs/bench/network.md)."""
LOOP_LAG_S = 0.05
LATENESS_P99_S = 0.02
LOAD = 0.8
OUTBOX_S = 60.0
