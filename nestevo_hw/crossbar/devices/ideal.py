"""No device: weights as given, perfect input and output."""

from nestevo_hw.crossbar.devices.preset import DevicePreset

IDEAL = DevicePreset(
    name="ideal",
    title="no device",
    noise_law=None,
    g_max_us=25.0,
    several_pairs=True,
    drift_compensation=False,
    converters=None,
    source="no device: weights as given, perfect input and output",
    leaves_out="everything; for checking the mapping",
)
