"""Digests of values: equal if, and only if, every bit is equal."""
