"""Labels for a recording by a detector of somebody else's, and how far they agree with labels that exist."""
