"""`python -m bench.postgres`: fluido's pool, writer and streams against what is in use, on a real server."""
