"""What a merge may be given to others under: terms of licences, and what follows for a merge."""
