"""Bringing stores together: what is missing where, and how two entries differ."""
