"""Hooks into Python, each of them undoable."""
