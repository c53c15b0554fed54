"""A whole job on one machine: real chain, real contracts, real training, cheats included."""
