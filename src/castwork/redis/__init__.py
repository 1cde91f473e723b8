"""The only code that talks to Redis: connections, scripts and key names."""
