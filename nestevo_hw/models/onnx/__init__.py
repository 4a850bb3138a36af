"""ONNX out and in: export of detectors and classifiers, import of foreign files."""
