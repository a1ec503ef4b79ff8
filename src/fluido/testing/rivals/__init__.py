"""Laws that others published, and our own before the ladder: to compare with, and as negative controls."""
