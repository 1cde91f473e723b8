"""What Redis holds: keys, scripts, and one typed method per transition.

The only code that packs a command or reads a reply.
"""
