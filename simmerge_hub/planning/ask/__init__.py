"""What is asked of a plan: tasks and their experts, an aim, evidence, how far to search."""
