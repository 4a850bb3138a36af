"""A terminal's model that does no more than its frames need: what stays is kept, what changes is run on crops."""
