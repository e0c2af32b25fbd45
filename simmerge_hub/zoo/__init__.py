"""Specialists, nano ones and of a real model: tasks, training, evaluation and outcomes.

Nothing outside this room imports it: the zoo is where predictors come from, not how they run.
"""
