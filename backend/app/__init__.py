"""Sentinel: the policy that is put on top of fluido's mechanism."""
