"""Which tasks run when, and the workers that run them."""
