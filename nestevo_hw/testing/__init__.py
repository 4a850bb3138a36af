"""Conformance suites: what every part of a kind must do, for those who bring their own."""
