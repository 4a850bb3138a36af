"""The benchmark's simulated executor, for tests of the loop that need no training."""

import importlib.util
import sys
from pathlib import Path

_PATH = Path(__file__).parents[2] / "benchmarks" / "evolution_scale.py"
_spec = importlib.util.spec_from_file_location("evolution_scale", _PATH)
evolution_scale = importlib.util.module_from_spec(_spec)
sys.modules["evolution_scale"] = evolution_scale
_spec.loader.exec_module(evolution_scale)
