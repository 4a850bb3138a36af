"""A terminal's model as one path of many through a supernet: which there are, what they take, which is best now."""
