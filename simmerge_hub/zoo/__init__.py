"""Specialists, nano ones and of a real model: tasks, training, evaluation and outcomes.

The zoo is where predictors come from, not how they run: only the command line, and exams of the
nano models, import it.
"""
