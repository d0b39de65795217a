"""Warm interpreters: fork servers, what they import beforehand, and which file may be forked from which."""
