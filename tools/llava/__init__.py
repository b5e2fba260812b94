"""The bundled LLaVA: its training, its figures and its card."""
