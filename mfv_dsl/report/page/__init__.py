"""The page that ``mfv report`` makes of runs: one file for a browser, which needs no network."""
