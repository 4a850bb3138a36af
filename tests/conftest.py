"""Settings of every test: one torch thread, figures without a display."""

import os
import sys

# Before torch and matplotlib are imported, and for the worker processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Triton's kernels run in its interpreter, unless the tests of a GPU are asked for.
os.environ.setdefault("TRITON_INTERPRET", "0" if "gpu" in sys.argv else "1")

import torch

torch.set_num_threads(1)
