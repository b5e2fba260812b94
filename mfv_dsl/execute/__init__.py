"""From a plan to values, rows and files.

How a step of :mod:`mfv_dsl.plan` becomes a result::

    step        an operation by name, its parameters, the keys of its inputs
    perform     takes its value from the store, else calls the operation's function
    value       plain dataclasses and arrays; one file a step in the store
    row         what an eval, a tune or a blend shows of values
    file        the tables, manifest and vectors of the run's folder; the libraries of saves

:func:`~mfv_dsl.execute.run.run_plan` goes the whole way, :func:`~mfv_dsl.execute.run.perform` as
far as values.  The functions of operations are in ``operations``; what they share during a run
(models, datasets, prompts) is in ``session``.  Rows are made in ``results``, ``tuning_rows``,
``blend_weights`` and ``notes``, files in ``folder`` and ``provenance``.  Beside the way: ``loads``
fetches and pins vectors before a run, ``bind`` attaches an eval to the user's own model, ``heads``
tells what a ranking measured, and ``environment`` what this machine can run.
"""
