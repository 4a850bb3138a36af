"""Triton compiles the kernel for real GPUs, whose tensor cores it uses; none is needed for that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
SCRIPT = Path(__file__).parent / "compile_kernel.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "precision", "noise", "drop", "instruction"),
    [
        ("90", "fixed", "1", "0", "s32.s8.s8"), ("90", "fixed", "3", "1", "s32.s8.s8"),
        ("80", "fixed", "2", "0", "s32.s8.s8"), ("90", "float16x2", "3", "1", "f32.f16.f16"),
        ("80", "tf32", "1", "0", "f32.tf32.tf32"), ("90", "float32", "3", "0", ""),
    ],
)  # fmt: skip
def test_it_multiplies_in_the_format_that_it_says_and_fetches_whole_lines(
    capability: str, precision: str, noise: str, drop: str, instruction: str, tmp_path: Path
) -> None:
    environment = os.environ | {
        "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SCRIPT), capability, precision, noise, drop],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert instruction in done.stdout
    assert ("mma" in done.stdout) == bool(instruction)
    assert "cp.async" in done.stdout
