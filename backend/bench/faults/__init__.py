"""What breaks while people talk, and what they notice: `python -m bench.faults`."""
