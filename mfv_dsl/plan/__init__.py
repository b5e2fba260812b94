"""From a checked recipe to a plan: what will be computed, as data, without a model and torch.

How a word of the language becomes a step::

    entry       a word with its options, declared in lang.functions or lang.entries: `fv`, `eval`
    expression  a call or block with every option filled in, from lang.checker
    planner     turns it into steps; equal steps become one
    step        an operation by name, its parameters, the keys of its inputs, and its own key
    plan        steps, each after its inputs; rows of evals and tunes; saves

:func:`~mfv_dsl.plan.build.build_plan` is the way in.  The planner is one object whose class is made
in layers, a module each: ``planner`` (adds steps), ``heads``, ``expressions`` (vectors, numbers),
``evals``, ``build`` (tunes, saves).  What steps there can be is in ``operations``, which also makes
their keys; what they cost is in ``descriptions``, ``described_evaluations`` and
``described_trainings``, and ``explain`` tells it to people.

What happens to a plan then is in :mod:`mfv_dsl.execute`.
"""
