"""Plain data: settings, errors, wire formats and pure functions. No I/O."""
