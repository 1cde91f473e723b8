"""The scenarios' parts: servers, environments, producers, workers, measures, reports."""
