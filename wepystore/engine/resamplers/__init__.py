"""Resamplers: which walkers to clone and which to merge."""
