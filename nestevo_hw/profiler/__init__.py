"""Predicted memory and time of a training task."""
