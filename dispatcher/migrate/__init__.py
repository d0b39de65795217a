"""`run-tests migrate`: from the shell scripts to this program, with a check and a way back."""
