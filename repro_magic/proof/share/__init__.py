"""The files that others need to run and verify a notebook."""
