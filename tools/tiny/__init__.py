"""Training of the bundled Flamingo, its sequences, and its card."""
