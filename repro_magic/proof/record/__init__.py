"""What is recorded of a notebook, and a fresh run compared with it."""
