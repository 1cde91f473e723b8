"""Exactly one: task functions, their tasks, and the roles of a worker."""
