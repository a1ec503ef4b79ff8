"""How fast `fluido.redis` is beside redis-py, valkey-glide and coredis. Needs no Sentinel and no engine."""
