"""WebRTC legs, gate, playout."""
