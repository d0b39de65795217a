"""What is known of a project's test files, for people: how one runs, what a run will take, what grew."""
