"""Looking after a store: checking, healing, counting, removing what nothing needs."""
