"""What sparse operators are made of: which entries survive, by rank or by chance; how they add."""
