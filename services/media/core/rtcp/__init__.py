"""RTCP both ways: reports received, reports sent."""
