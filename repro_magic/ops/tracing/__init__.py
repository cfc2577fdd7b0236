"""Watching a process for flagged ops, at next to no cost for all others."""
