"""How a detector of somebody else's teaches, by its detections alone."""
