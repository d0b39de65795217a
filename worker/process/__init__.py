"""The processes of one test file: start, watch, collect what they print and report, end."""
