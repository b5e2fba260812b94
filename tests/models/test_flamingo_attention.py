"""Cross-attention of whole texts, each token with its own image alone."""

from __future__ import annotations

import pytest
import torch

from mfv_dsl.data.scenes import Scenes
from mfv_dsl.models.flamingo_attention import Segments, own_images
from tests.conftest import small_flamingo
from tests.engine.support import drawn, mixed_batch

# padding and text before the first image, images side by side, one at the end, and none
IMAGES = torch.tensor([
    [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0],
    [1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
], dtype=torch.bool)  # fmt: skip


def test_every_token_reads_what_open_flamingos_attention_reads():
    attention = small_flamingo().model.lang_encoder.gated_cross_attn_layers[1].attn
    x, media = drawn(4, 12, 32, seed=1), drawn(4, 3, 5, 64, seed=2)
    theirs = attention(x, media, media_locations=IMAGES)
    with own_images([attention], IMAGES):
        assert "forward" in vars(attention)  # it is ours that runs
        ours = attention(x, media, media_locations=IMAGES)
        cached = attention(x[:, -1:], media, media_locations=IMAGES, use_cached_media=True)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(cached, theirs[:, -1:], atol=1e-6, rtol=1e-6)
    assert "forward" not in vars(attention)


def test_scores_grow_with_the_text_alone():
    """A segment for every image, as long as the longest: not the text times the images."""
    each = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 0] * 64], dtype=torch.bool)
    segments = Segments.of(each)
    assert segments is not None and segments.count == 64
    assert segments.tokens.shape == (1, 64 * 8)


@pytest.mark.parametrize(
    "images", [[[0] * 8], [[1] * 20 + [0] * 100]], ids=["no image", "unequal segments"]
)
def test_what_would_not_gain_is_left_to_open_flamingo(images: list[list[int]]):
    attention = small_flamingo().model.lang_encoder.gated_cross_attn_layers[1].attn
    places = torch.tensor(images, dtype=torch.bool)
    assert Segments.of(places) is None
    with own_images([attention], places):
        assert "forward" not in vars(attention)


def test_further_tokens_are_given_the_last_picture_alone(scenes: Scenes):
    model = small_flamingo(layers=4)
    batch = mixed_batch(model, scenes)
    with model.decoding(batch) as decoder:
        decoder.prompt()
        for layer in model.layers:
            assert layer.vis_x.shape[:2] == (len(batch), 1)
            assert layer.media_locations.tolist() == [[True]] * len(batch)
