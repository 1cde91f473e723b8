"""Looking: queues, workers and their load, without changing anything."""
