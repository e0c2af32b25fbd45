"""A collection, or an author's models -> the few that are worth a plan."""
