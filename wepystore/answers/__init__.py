"""What recordings tell, beyond what stands in them; numpy only, and nothing is run."""
