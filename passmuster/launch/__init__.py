"""The start on a bare Python: finds, makes and enters the private environment."""
