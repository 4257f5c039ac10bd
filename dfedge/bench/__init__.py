"""How fast a bundle learns, beside back-propagation of the same net in the same run."""
