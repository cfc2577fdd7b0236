"""The switches that make PyTorch deterministic: read, turned, put back, and what can no longer be changed."""
