"""Processes: the pool of child processes that run plain functions with `run_in="process"`."""
