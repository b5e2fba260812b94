"""What mfv-dsl is in a notebook: the magics of ``%load_ext mfv_dsl``, and progress as it is shown
there.  IPython is imported by the modules of this package alone."""
