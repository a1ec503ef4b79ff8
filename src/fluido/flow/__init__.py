"""asyncio objects that take the time, measure, hand the samples to a law and apply what it answers."""
