"""How accuracy falls under crossbar noise: of a model, and of the students it teaches (paper Fig. 15)."""
