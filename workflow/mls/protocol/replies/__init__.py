"""What the replies of each API say, in one form."""
