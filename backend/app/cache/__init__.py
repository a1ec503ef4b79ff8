"""What Sentinel remembers in Redis."""
