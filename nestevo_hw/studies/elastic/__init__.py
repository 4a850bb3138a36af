"""What a supernet's paths are worth, as a picture, beside models that were pruned as a whole."""
