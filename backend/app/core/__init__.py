"""Settings, ports and the policy of every adaptive buffer."""
