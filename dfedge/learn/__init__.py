"""Float and fake-quantised training on the host."""
