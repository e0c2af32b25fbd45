"""What learns: lines, forests and networks, and the intervals around them."""
