"""Live streams over a network: a simulated network, a jitter buffer, playout, and pauses."""
