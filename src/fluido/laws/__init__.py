"""Pure arithmetic that decides: samples in, a value and its reason out. One law a file."""
