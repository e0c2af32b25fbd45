"""What is written to the Hub, one commit at a time."""
