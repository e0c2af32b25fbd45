"""Parts of the card of a merge, each a section of it."""
