"""A camera needs no torch: nothing that a terminal loads does."""

import subprocess
import sys

CODE = """
import pkgutil, sys
import nestevo_hw.terminals
for module in pkgutil.walk_packages(nestevo_hw.terminals.__path__, "nestevo_hw.terminals."):
    __import__(module.name)
import nestevo_hw.commands.terminal
heavy = {"torch", "torchvision", "aihwkit", "onnx", "fastapi", "matplotlib", "scipy", "sklearn"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else 0)
"""


def test_a_terminal_loads_no_heavy_library():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
