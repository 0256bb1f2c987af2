"""Reporters: what a run leaves behind besides its snapshots."""
