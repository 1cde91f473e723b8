"""What runs tasks: only worker processes load it."""
