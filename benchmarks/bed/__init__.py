"""The benchmark bed: suites times runners in interleaved rounds, outcomes held against each other."""
