"""What is known, for people: one document, as plain text and as HTML."""
