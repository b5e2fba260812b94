"""A plan on several workers, which share a store.

How it goes::

    driver      orders the work, starts workers, watches them, and shows how far they are
    executor    starts the same function N times: as processes here, Slurm jobs, tasks of Ray
    worker      takes one group of steps after another that nobody else has, until all are done
    store       holds claims, finished steps, parts of long ones, and what workers report

There is no scheduler: every worker goes through the same plan, and claims what it does in the store
(:mod:`mfv_dsl.execute.claims`).  Which steps are performed together, and in which parts, depends on
the plan alone, so that results are the same with any number of workers.
"""
