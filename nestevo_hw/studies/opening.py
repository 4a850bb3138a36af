"""Models by name, ready for the crossbar."""

from dataclasses import replace
from pathlib import Path

from nestevo_hw.crossbar.opening import opened
from nestevo_hw.models.zoo import ZooModel, example_inputs, open_model


def open_layers(name: str, *, weights: Path | None = None) -> ZooModel:
    """A model by name, opened into layers (`crossbar.opening.opened`).

    A user's own model is run once on a made-up image, for what only shows then: lazy layers, weights that are read
    by other modules.

    Raises:
        ConfigError: no such model, or a factory that cannot be called.
        InputError: the weights are missing, corrupt, NaN or of other shapes.
    """
    chosen = open_model(name, weights=weights)
    example = example_inputs(chosen.model, count=1) if ":" in name else None
    return replace(chosen, model=opened(chosen.model, example))
