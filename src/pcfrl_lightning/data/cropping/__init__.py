"""How a face is cut out of its image."""
