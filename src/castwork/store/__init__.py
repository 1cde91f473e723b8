"""What Redis holds: keys, scripts, and one typed method per transition.

No other package packs a command or reads a reply.
"""
