"""A value's digest: equal if, and only if, every bit is."""
