"""A job folder, its lock, and what the job itself has written there."""
