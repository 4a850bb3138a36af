"""Frames over time, one stream a terminal."""
