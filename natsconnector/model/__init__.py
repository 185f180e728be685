"""What the rooms hand each other: values and the seams, without any I/O."""
