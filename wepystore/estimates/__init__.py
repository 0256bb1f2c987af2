"""Numbers out of numbers: estimates, their intervals, and what is to be thought of them."""
