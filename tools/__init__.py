"""Tools of this repository's own: what makes the files that ship with the package."""
