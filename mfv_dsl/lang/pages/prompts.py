"""MFV724x: language models of a kind that is not served, and prompts that cannot be made."""

from __future__ import annotations

from mfv_dsl.lang.pages.page import Page

PROMPTS: dict[str, Page] = {
    "MFV7240": Page(
        "an MPT that would be computed wrongly",
        """
transformers' MPT reads more settings than it serves: positions are always by ALiBi with a largest
bias of 8, attention is causal and multi-head, the MLP is four times as wide, and there are no
biases. A model that was trained otherwise would load and answer wrongly, so it is refused. MPT-1B
and MPT-7B, on which OpenFlamingo's models stand, are served.""",
    ),
    "MFV7241": Page(
        "a Flamingo over an unknown language model",
        """
Where decoder layers, attention and MLP are in a language model is known for some families only,
those of OpenFlamingo's published models. The message lists them; a further one is one entry in
`mfv_dsl/models/families.py`.""",
    ),
    "MFV7242": Page(
        "texts and lists of images that do not go together",
        """
`texts(texts, images)` and `generate(texts, images)` take a list of texts and, for each, the list of
its images: `texts=["<image>Q:cup. A:"], images=[[picture]]`. A text without images has an empty
list, and no text is empty.""",
    ),
    "MFV7243": Page(
        "another number of images than of `<image>` marks",
        """
`<image>` in a text says where an image belongs, so there are as many images as marks, in the same
order. The message names the text, counted from 0, and both numbers.""",
    ),
    "MFV7244": Page(
        "a prompt longer than the model's context",
        """
A language model takes a limited number of tokens, the generated ones included. Each demonstration
costs its tokens and an image: use fewer `shots`, or generate fewer tokens.""",
    ),
    "MFV7245": Page(
        "something that is no image",
        """
An image is an array (height, width, 3) of uint8, an image of PIL, or the path of a picture file.
The message names the text and the image, both counted from 0.""",
    ),
    "MFV7247": Page(
        "scores of prompts without answers",
        """
Texts of one's own have no answers unless they are given, so nothing says which token's probability
is wanted. Give `answers` to `texts(...)`, or `targets` to the call that scores.""",
    ),
    "MFV7248": Page(
        "a model too large for the devices",
        """
Decoder layers are spread over the devices, as much to each as four fifths of its free memory hold,
and all devices together have too little. Use more devices, `bf16` in place of `fp32`, or end what
else fills their memory.""",
    ),
}
