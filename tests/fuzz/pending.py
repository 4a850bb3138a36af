"""Bad inputs that are not refused as they should be yet; a name whose input is refused must go."""

PENDING = frozenset(
    r"""
pretrain --model none --steps 1
""".strip().split("\n")
)
