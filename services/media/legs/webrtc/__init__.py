"""The aiortc and aioice shell of a WebRTC leg."""
