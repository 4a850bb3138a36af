"""Networks on a part of their input: which outputs change with it, what they need, and graphs that run on the crop."""
