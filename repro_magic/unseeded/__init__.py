"""Unseeded sources of randomness, and the lines of the user's code that use them."""
