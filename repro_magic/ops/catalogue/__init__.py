"""The flagged ops as data: which may differ between runs, where, on what condition, and what helps."""
