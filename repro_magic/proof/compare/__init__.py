"""Two runs compared, cell by cell."""
