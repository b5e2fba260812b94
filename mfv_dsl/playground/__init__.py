"""``mfv serve``: a page in the browser to ask a model about a picture, with and without a vector.

What is asked and what comes of it are plain functions and objects (:mod:`.studio`); :mod:`.page`
lays them out, and :mod:`.server` gives them to a browser.
"""
