"""One small module per batch system, each a translation between our words and its words; see base.py."""
