"""What training tasks cost on this machine: measured, learned, judged."""
