"""The roles that run tasks. Only worker processes load this package."""
