"""Names of a cut detector's tensors."""

REGIONS, OBJECTNESS = "regions", "objectness"
"""(K, 4) boxes x1 y1 x2 y2 in pixels of the network's input, and (K,) how sure each holds something, 0 to 1."""
LEAST = "least_objectness"
"""A number: less sure regions are left out before they are compared, which changes nothing for the others."""
