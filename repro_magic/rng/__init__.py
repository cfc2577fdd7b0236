"""Random generators: which exist, how they were seeded, and whether they were drawn from."""
