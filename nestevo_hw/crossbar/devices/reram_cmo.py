"""Conductive-metal-oxide/HfOx ReRAM, programmed and verified to 0.2 % of the target."""

from nestevo_hw.crossbar.devices.law import ModelLaw
from nestevo_hw.crossbar.devices.preset import (
    RASCH_CONVERTERS,
    RASCH_LEAVES_OUT,
    RASCH_SOURCE,
    DevicePreset,
)

RERAM_CMO = DevicePreset(
    name="reram-cmo",
    title="conductive-metal-oxide/HfOx ReRAM",
    noise_law=ModelLaw.of(
        # A value that is not a key of aihwkit's table (0.2 or 2, in percent) is silently read as 0.2.
        "aihwkit.inference.noise.reram:ReRamCMONoiseModel",
        acceptance_range=0.2,
    ),
    g_max_us=88.2,
    g_min_us=9.0,
    characterised_us=(9.0, 88.2),
    relaxation="own",
    drift_compensation=False,
    earliest_s=1.0,
    converters=RASCH_CONVERTERS,
    chip="neurram",
    source="Falcone et al., arXiv:2502.04524 (conductive-metal-oxide/HfOx ReRAM, program-and-verify "
    "to 0.2 % of the target, relaxation). " + RASCH_SOURCE,
    leaves_out=RASCH_LEAVES_OUT + ", a reference column unless it is set",
)
