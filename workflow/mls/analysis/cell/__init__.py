"""One cell: its repeats, and what is estimated over them."""
