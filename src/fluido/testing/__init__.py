"""Virtual time, a simulated server and scenarios with pass lines: to test with, and to try to break a law."""
