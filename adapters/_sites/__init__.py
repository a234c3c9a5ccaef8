"""Find the sites of a model."""
