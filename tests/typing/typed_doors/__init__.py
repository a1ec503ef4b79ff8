"""What a user writes against the doors of fluido. Never run: `make check` reads it with mypy --strict."""
