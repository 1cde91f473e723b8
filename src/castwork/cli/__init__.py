"""The command line: `castwork up`, `worker`, `gateway`, and commands to look and to operate."""
