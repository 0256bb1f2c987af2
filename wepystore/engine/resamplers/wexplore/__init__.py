"""WExplore: walkers spread over a hierarchy of regions (Dickson & Brooks 2014)."""
