"""What recordings tell, as figures of plain data, in one page that loads nothing."""
