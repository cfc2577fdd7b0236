"""The flagged ops as data: which may differ between runs, where, when, and the remedies."""
