"""Labelled samples of the user's own, whatever they are kept in."""
