"""Detectors of somebody else's as ONNX files, read by what an adapter says of them."""
