"""Running a recorded run again, and what it has in common with the record."""
