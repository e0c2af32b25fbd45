"""Pictures on the cards of merges: shapes, how they are written as files, and what they show."""
