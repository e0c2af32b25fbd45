"""Who is worth a plan: the few of a catalogue, and the expert for a task where probes decide."""
