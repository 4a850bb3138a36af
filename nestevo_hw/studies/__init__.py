"""Studies on top of the loop and the crossbar, each with its page."""
