"""Detectors, their pruned variants, checkpoints and ONNX export."""
