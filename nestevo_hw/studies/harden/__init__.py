"""Hardware-aware training: a model learns to bear the device that it is programmed onto."""
