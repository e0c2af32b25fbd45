"""THE LEARNED CHOICE: features of a pair -> the utility of every arm, with its spread."""
