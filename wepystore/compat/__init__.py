"""What is there for other programs, each in a folder of its own, loaded where it is met."""
