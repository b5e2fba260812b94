"""The recipe language: text to checked recipe.  Nothing here imports torch."""
