"""What a running plan holds: loaded models, opened datasets, and prompts encoded once."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from mfv_dsl import data, models
from mfv_dsl.base.errors import MfvError
from mfv_dsl.base.facts import PRECISIONS, DatasetFacts
from mfv_dsl.base.memory import rows_at_once
from mfv_dsl.data.findings import listed
from mfv_dsl.data.items import Dataset, Item, Prompt
from mfv_dsl.data.marks import check_name
from mfv_dsl.data.prompts import draw_prompts
from mfv_dsl.data.table import FileDataset
from mfv_dsl.engine.attach import is_edited
from mfv_dsl.engine.kept_prefixes import KeptPrefixes
from mfv_dsl.engine.prefix import PrefixOf, encode_prefix, full_passes
from mfv_dsl.engine.rows import prompt_bytes
from mfv_dsl.execute.settings import AS_DECLARED, Listener, RunSettings
from mfv_dsl.lang.entries import CHOOSING
from mfv_dsl.methods.adapter_training import Adapter, with_adapter
from mfv_dsl.methods.answers import Answers, Asking, Variant, object_names
from mfv_dsl.methods.choices import Choosing
from mfv_dsl.models.base import Backend, PromptBatch
from mfv_dsl.models.loaded import is_unchanged
from mfv_dsl.plan.descriptions import BATCH
from mfv_dsl.plan.lengths import prompt_tokens
from mfv_dsl.plan.steps import Plan, Step

Result = TypeVar("Result")
#: The parts of a step: the name of each, and what makes it.
Makes: TypeAlias = "Sequence[tuple[str, Callable[[], Any]]]"


class Parts(Protocol):
    """Where parts of unfinished steps are kept."""

    def keep(self, step: Step, name: str, make: Callable[[], Any]) -> Any:
        """The part ``name`` of ``step``: as kept by an earlier run, else made and kept."""

    def keep_all(self, step: Step, makes: Makes, had: Callable[[int], None]) -> list[Any]:
        """All parts of ``step``, in their order, wherever they are made; ``had`` is told the places
        of those that were not made here."""


class Batches(Sequence[PromptBatch]):
    """Batches of prompts, each rendered and its pictures encoded when it is taken, so that no more
    of them are held than are in use.  Taking one twice does the work twice.

    Where they are taken in turn and the model is on a device of its own, the pictures of the next
    batch are drawn while the device works on the one before, and no more than those.  On a
    processor both would want the same cores."""

    def __init__(
        self, backend: Backend, dataset: Dataset, prompts: Sequence[Prompt], size: int
    ) -> None:
        self._backend, self._dataset = backend, dataset
        self._parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def n_prompts(self) -> int:
        """How many prompts there are in all batches."""
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[PromptBatch]:
        is_ahead, give_up = self._backend.device.type != "cpu", _nothing
        try:
            for number in range(len(self)):
                batch = self[number]
                give_up()
                give_up = _nothing
                if is_ahead and number + 1 < len(self):
                    give_up = self._backend.expect(self._parts[number + 1], self._dataset)
                yield batch
                del batch
        finally:
            give_up()

    @overload
    def __getitem__(self, number: int) -> PromptBatch: ...
    @overload
    def __getitem__(self, number: slice) -> list[PromptBatch]: ...

    def __getitem__(self, number: int | slice) -> PromptBatch | list[PromptBatch]:
        if isinstance(number, slice):
            return [self[place] for place in range(len(self))[number]]
        return self._backend.batch(self._parts[number], self._dataset)


def batched(
    backend: Backend, dataset: Dataset, prompts: Sequence[Prompt], size: int | None = None
) -> Batches:
    """Prompts rendered and encoded, ``size`` at a time; by default as many as memory suggests, and
    at most as many as a plan counts with."""
    size = fitting(backend, prompts) if size is None else size
    return Batches(backend, dataset, prompts, size)


def fitting(backend: Backend, prompts: Sequence[Prompt]) -> int:
    """How many of ``prompts`` are run at a time, as memory suggests."""
    shots = max((len(prompt.demonstrations) for prompt in prompts), default=0)
    length = prompt_tokens(backend.facts, shots)
    bytes_ = prompt_bytes(backend.facts, length, PRECISIONS[backend.facts.precision])
    return min(BATCH, rows_at_once(backend.device, bytes_))


class _Ahead:
    """Chunks of prompts that are measured in turn: where the model is on a device of its own, the
    pictures of the next one are drawn while it works on one, as :class:`Batches` does within."""

    def __init__(self, backend: Backend, dataset: Dataset, chunks: Sequence[list[Prompt]]) -> None:
        self._backend, self._dataset, self.chunks = backend, dataset, chunks
        self._given_up: dict[int, Callable[[], None]] = {}

    def make(self, number: int, measure: Callable[[list[Prompt]], Result]) -> Result:
        """What is measured on a chunk."""
        if self._backend.device.type != "cpu" and number + 1 < len(self.chunks):
            following = self.chunks[number + 1]
            first = following[: fitting(self._backend, following)]
            self._given_up[number + 1] = self._backend.expect(first, self._dataset)
        result = measure(self.chunks[number])
        self._given_up.pop(number, _nothing)()
        return result

    def give_up(self) -> None:
        """Of what was begun to be drawn, give up what nobody asked for."""
        while self._given_up:
            self._given_up.popitem()[1]()


@dataclass(frozen=True)
class Pairs(Sequence[tuple[PromptBatch, PromptBatch]]):
    """Batches of two kinds of prompts side by side, each made when it is taken."""

    sources: Batches
    targets: Batches

    def __len__(self) -> int:
        return len(self.targets)

    def __iter__(self) -> Iterator[tuple[PromptBatch, PromptBatch]]:
        return zip(self.sources, self.targets, strict=True)

    @overload
    def __getitem__(self, number: int) -> tuple[PromptBatch, PromptBatch]: ...
    @overload
    def __getitem__(self, number: slice) -> list[tuple[PromptBatch, PromptBatch]]: ...

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return list(zip(self.sources[number], self.targets[number], strict=True))
        return self.sources[number], self.targets[number]


def prefix_of(step: Step, last: PrefixOf = encode_prefix) -> PrefixOf:
    """What runs the prompts of an evaluation: ``last`` where it writes to last tokens alone, full
    passes where tokens before them see what is written."""
    return last if step.parameters.get("position", "last") == "last" else full_passes


def _nothing() -> None:
    """Nothing is given up."""


def as_loaded(backend: Any) -> Backend:
    """A model that the user holds, if it is as it was loaded; MfvError (MFV5120) otherwise, as what
    is computed on it is kept under the name of the model that was loaded."""
    problem = None
    if is_edited(backend.model):
        problem = "edits are attached to it"
    elif not is_unchanged(backend):
        problem = "its weights were changed, or it is in training mode"
    if problem is not None:
        raise MfvError(
            "MFV5120", f"the model is not as it was loaded: {problem}",
            help="leave the block of `attach`, or load the model again after "
            "mfv_dsl.clear_models()",
        )  # fmt: skip
    model: Backend = backend
    return model


class Session:
    """Models and datasets of a plan, made when first needed."""

    def __init__(
        self,
        plan: Plan,
        listener: Listener,
        settings: RunSettings = AS_DECLARED,
        parts: Parts | None = None,
    ) -> None:
        self.plan = plan
        self.listener = listener
        self.settings = settings
        self.parts = parts
        self._backends: dict[str, Backend] = {}
        self._failed: dict[str, MfvError] = {}
        self._datasets: dict[str, Dataset] = {}
        self._unknown: set[str] = set()
        #: by model and dataset
        self._prefixes: dict[tuple[str | None, str | None], KeptPrefixes] = defaultdict(
            KeptPrefixes
        )
        self._names: dict[tuple[str | None, str], tuple[str, ...]] = {}

    def backend(self, step: Step) -> Backend:
        """The model that a step runs, loaded when it is first asked for."""
        assert step.model is not None
        if step.model not in self._backends and step.model in self.settings.given:
            self._backends[step.model] = as_loaded(self.settings.given[step.model])
        if step.model in self._failed:  # it would fail again
            raise self._failed[step.model]
        if step.model not in self._backends:
            declaration = self.plan.models[step.model]
            progress = self.listener.begin(f"loading {declaration.constructor}", 1)
            arguments = {**declaration.arguments, "download": self.settings.download}
            if self.settings.device is not None:
                arguments["device"] = self.settings.device
            try:
                backend = models.load(declaration.constructor, **arguments)
                if is_edited(backend.model):  # by the user, around this run
                    backend = models.load_anew(declaration.constructor, **arguments)
            except MfvError as error:
                self._failed[step.model] = error
                raise
            self._backends[step.model] = backend
            progress(1)
        return self._backends[step.model]

    @property
    def devices(self) -> dict[str, str]:
        """Where each model that was loaded runs."""
        return {name: str(backend.device) for name, backend in self._backends.items()}

    def site_of_heads(self, step: Step) -> str:
        """The site whose heads a step is about.  Raises MfvError (MFV5102) where the model has no
        such heads."""
        site = "xattn" if step.parameters.get("site") == "xattn" else "lm.attn"
        if site not in self.backend(step).sites:
            raise MfvError(
                "MFV5102", f"`{step.model}` has no heads of cross-attention",
                help="`site=xattn` is for models that see pictures by cross-attention: Flamingos, "
                "Idefics, Llama 3.2 Vision",
            )  # fmt: skip
        return site

    def dataset(self, step: Step) -> Dataset:
        """The dataset that a step reads, opened when it is first asked for."""
        assert step.dataset is not None
        if step.dataset not in self._datasets and step.dataset in self.settings.given:
            self._datasets[step.dataset] = self.settings.given[step.dataset]
        if step.dataset not in self._datasets:
            declaration = self.plan.datasets[step.dataset]
            opened = data.open_dataset(declaration.constructor, **declaration.arguments)
            if (
                isinstance(declaration.facts, DatasetFacts)
                and opened.hash != declaration.facts.hash
            ):
                raise MfvError(
                    "MFV6074", f"the files of the dataset `{step.dataset}` have changed since the "
                    "recipe was read",
                    help="read the recipe again, and run it when its files are there to stay",
                )  # fmt: skip
            self._datasets[step.dataset] = opened
        return self._datasets[step.dataset]

    def prompts(self, step: Step, n: int, split: str, shots: int) -> list[Prompt]:
        """The prompts of a step's relation and seed."""
        relation, seed = step.parameters["relation"], step.parameters["seed"]
        return draw_prompts(self.dataset(step), relation, split, n, shots, seed)

    def part(self, step: Step, name: str, make: Callable[[], Any]) -> Any:
        """A part of a long step, which an interrupted run need not make again."""
        return make() if self.parts is None else self.parts.keep(step, name, make)

    def in_parts(
        self, step: Step, makes: Makes, had: Callable[[int], None] = lambda place: None
    ) -> list[Any]:
        """All parts of a step that depend on nothing but the step and their names, in their order:
        made here or, where several workers share the work, by others.  ``had`` is told the places
        of those that were not made here.  Of a step of one part none is kept."""
        if self.parts is None or len(makes) == 1:
            return [make() for _, make in makes]
        return self.parts.keep_all(step, makes, had)

    def over_prompts(
        self, step: Step, prompts: list[Prompt], measure: Callable[[list[Prompt]], Result],
        name: str = "", had: Callable[[int], None] = lambda prompts: None,
    ) -> list[Result]:  # fmt: skip
        """What ``measure`` gives for every :data:`BATCH` of ``prompts``, in order: parts of the
        step, whose names begin with ``name``.  ``had`` is told the numbers of prompts of parts that
        were not made here."""
        chunks = [prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH)]
        ahead = _Ahead(self.backend(step), self.dataset(step), chunks or [[]])
        makes = [
            (f"{name}{number}/{BATCH}", partial(ahead.make, number, measure))
            for number in range(len(ahead.chunks))
        ]
        try:
            return self.in_parts(step, makes, lambda place: had(len(ahead.chunks[place])))
        finally:
            ahead.give_up()

    def batches(self, step: Step, prompts: list[Prompt], size: int | None = None) -> Batches:
        """Prompts rendered and encoded, as by :func:`batched`."""
        return batched(self.backend(step), self.dataset(step), prompts, size)

    def names(self, step: Step, split: str) -> tuple[str, ...]:
        """The objects that can be an answer in a split."""
        if (step.dataset, split) not in self._names:
            self._names[step.dataset, split] = object_names(self.dataset(step), split)
        return self._names[step.dataset, split]

    def check_names(self, step: Step) -> None:
        """Refuse (MFV7124) a file of names that hold the model's own marks, and warn of what the
        tokenizer does not know (MFV5376).  Other datasets have names of their own making."""
        dataset, backend = self.dataset(step), self.backend(step)
        if not isinstance(dataset, FileDataset):
            return
        names: dict[str, None] = {}
        looked_at: set[str] = set()
        for items in dataset.table.items.values():
            for item in items:
                for name in (item.query, item.answer, *_asked(item)):
                    if name not in looked_at:
                        check_name(name, backend.marks, f"{dataset.table.name}, {item.place}")
                        looked_at.add(name)
                names |= dict.fromkeys((item.query, item.answer))
        self.warn_of_unknown(step, sorted(names))

    def warn_of_unknown(self, step: Step, names: Sequence[str]) -> None:
        """Warn (MFV5376) of words in ``names`` that the tokenizer does not know, of each once."""
        words = [w for w in self.backend(step).unknown_words(names) if w not in self._unknown]
        self._unknown.update(words)
        if words:
            warnings.warn(
                f"MFV5376: the tokenizer of {step.model} does not know: {listed(words)}; to the "
                "model they are all the same", stacklevel=2,
            )  # fmt: skip

    def adapted_answers(
        self, step: Step, prompts: list[Prompt], split: str, adapter: Adapter, name: str = ""
    ) -> Answers:
        """What the model answers with an adapter in it; no prefix is shared with the model without
        one."""

        def measured(chunk: list[Prompt]) -> tuple[Answers, ...]:
            with with_adapter(self.backend(step), adapter) as backend:
                return self._asking(backend, step, split, [()]).measured(chunk)

        parts = self.over_prompts(step, prompts, measured, name)
        with with_adapter(self.backend(step), adapter) as backend:
            (answers,) = self._asking(backend, step, split, [()]).joined(prompts, parts)
        return answers

    def answers(
        self, step: Step, prompts: list[Prompt], split: str, variants: Sequence[Variant],
        name: str = "",
    ) -> list[Answers]:  # fmt: skip
        """What the model answers under each variant, in the way that the step asks; the names of
        the parts begin with ``name``."""
        last = prefix_of(step, self._prefixes[step.model, step.dataset])
        asking = self._asking(self.backend(step), step, split, variants, last)
        return asking.joined(prompts, self.over_prompts(step, prompts, asking.measured, name))

    def _asking(
        self, backend: Backend, step: Step, split: str, variants: Sequence[Variant],
        prefixes: PrefixOf = encode_prefix,
    ) -> Choosing | _AskingPrompts:  # fmt: skip
        """What asks prompts in the way that the step asks."""
        how = step.parameters["answer"]
        batches_of = partial(batched, backend, self.dataset(step))
        if how in CHOOSING:
            return Choosing(backend, batches_of, variants, how, prefixes)
        asking = Asking(backend, variants, how, self.names(step, split), prefixes)
        return _AskingPrompts(asking, batches_of)


@dataclass(frozen=True)
class _AskingPrompts:
    """What asks batches, and how these are made of prompts."""

    asking: Asking
    batches_of: Callable[[list[Prompt]], Batches]

    def measured(self, prompts: list[Prompt]) -> tuple[Answers, ...]:
        return self.asking.measured(self.batches_of(prompts))

    def joined(self, prompts: list[Prompt], parts: Sequence[tuple[Answers, ...]]) -> list[Answers]:
        return self.asking.joined(self.batches_of(prompts), parts)


def _asked(item: Item) -> tuple[str, ...]:
    """The texts of an item's question with options."""
    choice = item.choice
    return () if choice is None else (*filter(None, [choice.question]), *choice.options)
