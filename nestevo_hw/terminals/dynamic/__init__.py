"""A terminal's model that does no more than its frames need: what did not change is kept, what did is run on its crop."""
