"""The switches that make PyTorch deterministic: read, set and restored; and what the process can no longer change."""
