"""Nano specialists: tasks, training, evaluation and outcomes, all in minutes on two CPU cores.

Nothing outside this room imports it: the zoo is where predictors come from, not how they run.
"""
