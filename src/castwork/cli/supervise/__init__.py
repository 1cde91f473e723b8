"""The long-running processes: the supervisor of `castwork up`, and its children."""
