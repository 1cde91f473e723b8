"""Callers: how each kind of task function is called, chosen once per function."""
