"""`DataLoader`s: options that fix their order, an audit, and their workers."""
