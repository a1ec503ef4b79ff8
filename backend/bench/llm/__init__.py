"""`python -m bench.llm`: the LLM service against V1 at the engine, one lever at a time."""
