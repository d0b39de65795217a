"""Public projects' own test suites, as their authors run them and as Passmuster runs them."""
