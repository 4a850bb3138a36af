"""What learning, labelling and scoring mean for a kind of model."""
