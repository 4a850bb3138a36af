"""Which layers suffer most on the crossbar, and which to keep digital."""
