"""`DataLoader`s: options that fix their order, an audit of what is left, and their workers."""
