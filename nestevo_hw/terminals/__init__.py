"""A camera: its model in ONNX Runtime, its own judgement, and its link to the server. Nothing here needs torch."""
