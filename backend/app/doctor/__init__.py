"""`sentinel doctor`: reads the running services, and says what will hurt and how to mend it."""
