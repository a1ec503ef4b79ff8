"""One file an experiment: its arms, what they do in a block, and how long a round of it takes."""
