"""Keys, values and coordination, on the reference store."""
