"""A run: what it starts from, what it is asked for, its cycles, its checkpoints, going on."""
