"""The user's code and objects: read, never run."""
