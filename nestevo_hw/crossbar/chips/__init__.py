"""What a mapped model costs on published chips: time, energy, area, wear."""

from importlib import resources

DATA = resources.files("nestevo_hw") / "data"
"""Where the figures of the shipped chips stand."""
CHIPS = tuple(sorted(file.name.removesuffix(".toml") for file in (DATA / "chips").iterdir()))
"""Analog chips that ship: one file of `data/chips` each. Light, so that command lines can name them."""
REFERENCE = "rtx-3080"
"""The digital machine every chip is compared with."""
