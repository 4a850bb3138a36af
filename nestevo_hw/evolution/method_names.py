"""Names of the methods, for command lines that must not load torch to print their help."""

from typing import Literal, get_args

Method = Literal["NestEvo", "A1", "A2", "A3", "A4", "AdaBN", "self-training", "true-labels", "naive-average"]
"""What each does: `nestevo_hw.evolution.methods`."""
METHOD_NAMES: tuple[str, ...] = get_args(Method)
