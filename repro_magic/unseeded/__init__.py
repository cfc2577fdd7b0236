"""Numbers that no seed fixes: who asked for them, and on which line."""
