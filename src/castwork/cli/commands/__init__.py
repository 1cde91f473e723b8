"""The commands, one a file; `castwork.cli.program` registers them."""
