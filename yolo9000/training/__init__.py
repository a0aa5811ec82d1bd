"""The training loop and what it consists of: phases, optimiser, tally of the loss, curves."""
