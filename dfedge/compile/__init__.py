"""From a trained net to the integer local-update step: folding, plan, and the step itself."""
