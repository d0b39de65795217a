"""The change from the old shell scripts to this program, with a way back."""
