"""Randomness: which generators exist, from which seed, and whether somebody drew from them."""
