"""Compiles the kernel for a GPU that need not be there; run by test_kernel_compiles in a process without interpreter.

Arguments: compute capability without a point, precision, kind of noise (0 to 3), and 1 for IR drop. Prints the
instructions that multiply matrices, and those that fetch operands meanwhile: there are none for
single bytes, which is what unaligned addresses would be fetched by.
"""

import re
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nestevo_hw.crossbar.gpu import kernel

POINTERS = ("codes", "cells", "noisy", "lost", "scale", "offset", "bias", "broken", "table", "out")
NUMBERS = ("full_scale", "unit", "current_unit", "lost_unit", "power_unit", "sigma", "limit", "inl")
FORMATS = {"fixed": ("i8", 3), "float16x2": ("fp16", 2), "tf32": ("fp32", 1), "float32": ("fp32", 1)}


def main(capability: int, precision: str, noise: int, drop: bool) -> None:
    """Compile one variant."""
    form, terms = FORMATS[precision]
    constants = {
        "FIXED": precision == "fixed", "TERMS": terms, "NOISE": noise, "DROP": drop, "INL": drop, "ROUND": True,
        "OFFSET": drop, "BIAS": not drop, "APART": False, "PRECISION": "tf32" if precision == "tf32" else "ieee",
        "LONG": False, "BLOCK_K": 32, "BLOCK_M": 64, "BLOCK_N": 64,
    }  # fmt: skip
    types = dict.fromkeys(POINTERS, "*fp32") | dict.fromkeys(NUMBERS, "fp32") | dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(("codes", "cells", "noisy", "lost"), f"*{form}") | {"table": "*i32"}
    names = kernel.columns_of.arg_names
    aligned = [["tt.divisibility", 16]]
    source = ASTSource(
        kernel.columns_of,
        {name: types.get(name, "i32") for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): aligned for name in (*POINTERS, "depth", "channels", "terms_apart")},
    )
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": 8, "num_stages": 3})
    assert compiled.asm["cubin"]
    for source in (_source(kernel.dac, form), _source(kernel.dac_in_place, form), _source(kernel.patches, form)):
        assert triton.compile(source, target=target).asm["cubin"]
    code = compiled.asm["ptx"]
    found = set(re.findall(r"(?:wgmma\.mma_async|mma\.sync)\S+", code))
    found |= set(re.findall(r"cp\.async\.c[ag]", code))
    sys.stdout.write(" ".join(sorted(found)))


def _source(function: triton.JITFunction, form: str) -> ASTSource:
    """A kernel that makes or moves codes of this type."""
    values = {"ROUND": form != "fp32", "KERNEL_W": 7, "PLACES": 49, "EACH": False, "BLOCK_P": 64, "BLOCK_C": 32,
              "BLOCK": 1024}  # fmt: skip
    names = function.arg_names
    constants = {name: value for name, value in values.items() if name in names}
    pointers = {"x": f"*{form}" if function is kernel.patches else "*fp32", "codes": f"*{form}", "broken": "*fp32"}
    types = pointers | {"spans": "*i32"} | dict.fromkeys(("full_scale", "step"), "fp32")
    types |= dict.fromkeys(constants, "constexpr")
    places = {(names.index(name),): value for name, value in constants.items()}
    return ASTSource(function, {name: types.get(name, "i32") for name in names}, places)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
