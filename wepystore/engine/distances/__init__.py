"""How different two states are: progress coordinates for resamplers."""
