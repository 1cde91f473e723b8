"""What `castwork doctor` looks at: what was found, what that risks, and what mends it."""
