"""Real PostgreSQL, Redis and llama.cpp servers on free loopback ports, from wheels."""
