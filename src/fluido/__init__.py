"""Adaptive flow control for asyncio, with drop-ins for redis-py, SQLAlchemy and LLM engines."""
