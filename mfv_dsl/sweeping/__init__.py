"""One recipe under several values of what it declares: what varies, its runs, and one table of all
of them."""
