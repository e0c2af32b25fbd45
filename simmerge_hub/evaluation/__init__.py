"""Models on real tasks: EleutherAI's lm-evaluation-harness, results kept and put on cards."""
