"""Settings of every test: one torch thread, figures without a display, signals as a terminal sends them."""

import os
import signal
import sys

# Before torch and matplotlib are imported, and for the worker processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Triton's kernels run in its interpreter, unless the tests of a GPU are asked for.
os.environ.setdefault("TRITON_INTERPRET", "0" if "gpu" in sys.argv else "1")

import torch

torch.set_num_threads(1)
# `nohup make test` would have it ignored, and what the program then does is another test's.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
