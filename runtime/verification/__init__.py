"""Proof of the schedule without a GPU: it is recorded, checked, executed in random orders, mutated and timed."""
