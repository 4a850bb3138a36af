"""Bad inputs that are not refused as they should be yet; a name whose input is refused must go."""

PENDING = frozenset(
    r"""
bench-noise nets:no_layers
bench-noise --adc-bits 0
bench-noise --student none
bench-noise --keep-digital nowhere
evolve [reference] places = ["atlantis"]
evolve [execution] address = ""
evolve [[terminals]] name = "c", place = "atlantis"
evolve [[terminals]] name = "c", labels = "nowhere.json"
pretrain --model none --steps 1
""".strip().split("\n")
)
