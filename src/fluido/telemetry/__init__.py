"""What flows tell about themselves, in the formats others read. Each format needs its own extra."""
