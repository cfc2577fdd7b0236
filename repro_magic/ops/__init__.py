"""The flagged ops: which of them may give another result in another run."""
