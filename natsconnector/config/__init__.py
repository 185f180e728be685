"""What the user sets: flags, environment and the files they name, read once and checked as a whole."""
