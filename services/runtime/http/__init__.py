"""The HTTP listener: uvicorn behind bounds on connections, heads, bodies and time."""
