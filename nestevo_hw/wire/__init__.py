"""What a server and its terminals send one another."""
