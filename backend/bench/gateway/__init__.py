"""The gateway beside no gateway and beside others: what it costs, and whom it keeps waiting."""
