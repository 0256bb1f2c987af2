"""Numbers of a state by name: distances, angles and the like, vectorised over frames."""
