"""What Sentinel does with a message: history, prompt, engine, answer."""
