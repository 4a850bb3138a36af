"""Settings of every test: one torch thread, figures without a display."""

import os

# Before torch and matplotlib are imported, and for the worker processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import torch

torch.set_num_threads(1)
