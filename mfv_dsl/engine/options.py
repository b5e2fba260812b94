"""How likely each of a prompt's own continuations is, for every prompt under many variants.

    log p(s | prompt) = Σ over i of log p(s_i | prompt, s_1 … s_(i-1))

Every prompt has continuations of its own, such as the options of a question.
:mod:`mfv_dsl.engine.candidates` is for continuations that all prompts share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mfv_dsl.base.transfer import brought
from mfv_dsl.engine.finite import NotFinite
from mfv_dsl.engine.generation import follow
from mfv_dsl.engine.prefix import FullPasses, Prefix, Variant
from mfv_dsl.engine.sequences import Tokens, sequence_log_p
from mfv_dsl.engine.tree import Tree


def options_log_p(
    prefix: Prefix, options: Sequence[Sequence[Tokens]], variants: Sequence[Variant]
) -> np.ndarray:
    """The log-probability in nats of each of a prompt's ``options``, sequences of tokens, under
    each of ``variants``: (prompts, variants, most options), 0 beyond a prompt's own, and NaN where
    the model computes no numbers.

    Edits are made in the prompt alone.  Raises MfvError as
    :meth:`~mfv_dsl.engine.prefix.Prefix.run`, and MFV7244 for prompts that are too long with an
    option.
    """
    most = max(map(len, options))
    found = np.zeros((len(options), len(variants), most))
    if isinstance(prefix, FullPasses):
        return _by_full_passes(prefix, options, variants, found)
    tokens, lengths = _padded(options, most)
    first = torch.from_numpy(tokens[:, :, 0])
    for places, part in prefix.grow(variants, first, lambda tree: _grown(tree, tokens, lengths)):
        found[:, list(places)] = part
    found[np.broadcast_to((lengths == 0)[:, None], found.shape)] = 0
    return found


def _padded(options: Sequence[Sequence[Tokens]], most: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens (prompts, options, longest), with token 0 where there is none, and how many each
    option has (prompts, options)."""
    longest = max(len(sequence) for row in options for sequence in row)
    tokens = np.zeros((len(options), most, longest), np.int64)
    lengths = np.zeros((len(options), most), np.int64)
    for i, row in enumerate(options):
        for j, sequence in enumerate(row):
            tokens[i, j, : len(sequence)] = sequence
            lengths[i, j] = len(sequence)
    return tokens, lengths


def _grown(tree: Tree, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The log-probabilities of all options behind the variants of a tree, (prompts, variants,
    options): all of one length's tokens are run together, those of shorter options in vain."""
    log_p, finite = brought(tree.scores.log_p, tree.scores.finite)
    total = log_p.double().numpy().copy()
    bad = ~finite.numpy()[..., None]
    prompts, variants, most = total.shape
    rows = variants * most
    # of level 1 what is behind is a variant, of each further one the same option's token
    behind = torch.arange(variants).repeat_interleave(most).expand(prompts, -1)
    for level in range(1, tokens.shape[-1]):
        here = torch.from_numpy(np.tile(tokens[:, :, level - 1], (1, variants)))
        wanted = torch.from_numpy(np.tile(tokens[:, :, level], (1, variants)))[..., None]
        first, scores = tree.step(level, here, behind, wanted)
        log_p, finite = brought(scores.log_p, scores.finite)
        counts = np.broadcast_to((lengths > level)[:, None], total.shape)
        added = log_p.double().numpy()[..., 0].reshape(total.shape)
        held = finite.numpy().reshape(total.shape)
        total += np.where(counts, added, 0)
        bad = bad | (counts & ~held)
        behind = torch.arange(first, first + rows).expand(prompts, -1)
    return np.where(bad, np.nan, total)


def _by_full_passes(
    prefix: Prefix, options: Sequence[Sequence[Tokens]], variants: Sequence[Variant],
    found: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The same of a model whose earlier tokens see its last one, or edits elsewhere: a prompt at a
    time."""
    backend, batch = prefix.backend, prefix.batch
    for number, edits in enumerate(prefix.settled(variants)):
        for row, sequences in enumerate(options):
            only = torch.tensor([row])
            own = [follow(edit, only, backend) for edit in edits]
            try:
                log_p = sequence_log_p(backend, batch[row : row + 1], sequences, own)
            except NotFinite:
                found[row, number] = np.nan
                continue
            found[row, number, : len(sequences)] = log_p[0].numpy()
    return found
