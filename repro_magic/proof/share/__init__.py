"""What others need to run a notebook and to compare."""
