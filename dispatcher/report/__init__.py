"""What people and programs are told, each reporter on its own."""
