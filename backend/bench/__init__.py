"""The evidence: V1 against V2, measured so that a reader can repeat it."""
