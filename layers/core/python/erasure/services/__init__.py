"""Use cases. Each takes its ports as arguments and knows nothing of HTTP or AWS."""
