"""Time, memory and operations of REN and of what it is compared with."""
