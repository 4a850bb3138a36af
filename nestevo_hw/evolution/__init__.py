"""The evolution loop and its steps."""
