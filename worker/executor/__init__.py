"""The one way in which a test file is executed, on this and on every other machine."""
