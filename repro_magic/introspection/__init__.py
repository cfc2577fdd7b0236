"""Read the user's code and objects without running them."""
