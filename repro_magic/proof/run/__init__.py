"""A notebook run in a fresh kernel, in a copy of its project."""
