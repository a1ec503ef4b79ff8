"""The customer's documents in Spanish, rendered from result files alone: `python -m bench report`."""
