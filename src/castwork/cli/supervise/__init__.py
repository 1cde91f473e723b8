"""Processes that run on: the supervisor of `castwork up`, its children, and what these need."""
