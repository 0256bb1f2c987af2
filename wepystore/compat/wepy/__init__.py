"""Everything that is there for wepy 1.x: its entries, its components, its reporters."""
