"""Supernets: a model with several ways through its blocks, every one of which works. Only `space` loads no torch."""
