"""Is it the same: digests of values, notebooks run anew, and what comes out of comparing them."""
