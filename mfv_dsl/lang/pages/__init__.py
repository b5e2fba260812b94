"""A page per error code: what it means, a recipe that has it, the same recipe put right."""
