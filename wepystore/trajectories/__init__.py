"""What is recorded of runs as files that other programs read: WepyHDF5, DCD, XTC and PDB."""
