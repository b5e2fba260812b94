"""Figures of what runs gave, for papers and notebooks, by matplotlib.

Each function takes rows as the CSV files of a run's folder hold them, or arrays, and gives
``(figure, axes)``, which are matplotlib's own and can be changed; nothing is shown, and no state of
``matplotlib.pyplot`` is touched.  ``style`` has sizes, fonts and colours, ``saving`` writes files,
``kinds`` is the table of all kinds of figures of a run.
"""
