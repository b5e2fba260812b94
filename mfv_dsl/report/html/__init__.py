"""What notebooks show of values: pieces of HTML, one module for each kind of value.

Every piece stands alone: texts are escaped, styles are on the elements themselves, and colours are
those of the page's theme, light or dark.  Of what is long, a part is shown and it is said which.
"""
