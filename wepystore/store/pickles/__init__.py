"""What a pickle would do, read without doing it (S9)."""
