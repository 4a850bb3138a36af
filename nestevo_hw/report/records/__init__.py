"""Typed records of what happens in a run, by what they are about."""
