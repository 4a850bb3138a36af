"""Checks that any policy and any device must pass, also those that you bring."""
