"""Tools that make data; nothing of the program imports them."""
