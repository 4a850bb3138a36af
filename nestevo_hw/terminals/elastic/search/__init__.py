"""Looking for the path with the best accuracy under a latency budget, by evaluating as few paths as may be."""
