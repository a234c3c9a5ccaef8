"""The harness's own model of transformers, with forward passes of deeploc.

Tokens, special tokens, truncation and rolling windows are those of ``HFLM``
(``lm_eval/models/huggingface.py``), whose class this one is. What differs is how batches are made:
``HFLM`` pads without a mask, and on the left where it generates, so that an edit that depends on
the stimulus or on its first position would depend on the batch. Here completions are scored by
deeploc, and texts are generated in batches of equally long prompts, which need no padding.

This module imports lm_eval, and is imported when a task of the harness is measured.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from deeploc.adapters._torch.hooks import eager
from deeploc.adapters._torch.quiet import quiet
from deeploc.adapters._torch.read import eval_mode
from deeploc.core.harness import Question
from deeploc.errors import AdapterError

from .causal import CausalLM
from .encoder_decoder import EncoderDecoder
from .generating import Generating
from .harness import Score
from .score import Encoded
from .tokenize import Tokenizer

_log = logging.getLogger(__name__)

_SEED = 1234
"""The seed of torch in ``lm_eval.simple_evaluate``; counts only where texts are sampled."""

_GENERATED = 16
"""Largest number of texts that are generated at once."""

_Pair = tuple[Any, list[int], list[int]]


class HarnessModel(HFLM):  # type: ignore[misc]
    """An ``HFLM`` around a model that is loaded already, and may be ablated.

    Parameters
    ----------
    lm
        The forward passes of the model.
    tokenizer
        Its tokenizer; the harness gets a copy, because it sets a padding token.
    score
        What scores causal completions; None: `HFLM` does, one at a time.
    """

    def __init__(
        self, lm: CausalLM | EncoderDecoder, tokenizer: Tokenizer, score: Score | None
    ) -> None:
        # no module yet: HFLM would set it to evaluation mode and tie its weights for good
        stand_in = SimpleNamespace(config=lm.model.config, device=lm.device)
        backend = "seq2seq" if isinstance(lm, EncoderDecoder) else "causal"
        own = copy.deepcopy(tokenizer)
        super().__init__(pretrained=stand_in, backend=backend, tokenizer=own, batch_size=1)
        self._model = lm.model
        if lm.context is not None and lm.context < self.max_length:
            self._max_length = lm.context
        self.batch_size_per_gpu: int = 1
        self._score = score
        self._warned = False
        self._encoded: dict[tuple[Any, ...], list[int]] = {}

    def answers(self, question: Question, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answer to every request, in order.

        Parameters
        ----------
        question
            What is asked.
        requests
            The arguments of each request.
        """
        own = copy.deepcopy(list(requests))  # the harness adds to the stop sequences
        asked = [Instance(question, {}, arguments, i) for i, arguments in enumerate(own)]
        with eval_mode(self._model), eager(), quiet(), _silent():
            return list(getattr(self, question)(asked, disable_tqdm=True))

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **more: Any
    ) -> list[int]:
        """Return the tokens of a text; those of a task are the same under every ablation."""
        key = (string, add_special_tokens, *more.items())
        if key not in self._encoded:
            self._encoded[key] = super().tok_encode(string, add_special_tokens, **more)
        return self._encoded[key]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-probability (nats) of whole texts; their windows are scored at once."""
        if self._score is None:
            return list(super().loglikelihood_rolling(requests, disable_tqdm))
        with self._batches_of(2**31):
            return list(super().loglikelihood_rolling(requests, disable_tqdm))

    def _loglikelihood_tokens(
        self, requests: Sequence[_Pair], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return log-probability (nats) and greediness of completions, given as token ids."""
        del disable_tqdm  # rolling windows say False
        for texts, _, completion in requests:
            self._check_length(texts, len(completion))
        if self._score is None:
            made = super()._loglikelihood_tokens(requests, True, override_bs)
            return [(float(logprob), bool(greedy)) for logprob, greedy in made]
        self._warn_of_cut([len(context) + len(completion) for _, context, completion in requests])
        scores = self._score([self._encoding(*request[1:]) for request in requests])
        return [(score.logprob, score.greedy) for score in scores]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the text that follows each prompt; equally long ones are continued together."""
        groups: dict[tuple[int, bool, bool], list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(self._shape(*request.args), []).append(number)
        texts = [""] * len(requests)
        with torch.random.fork_rng():
            torch.manual_seed(_SEED)
            for (_, _, samples), group in groups.items():
                with self._batches_of(1 if samples else _GENERATED):
                    made = super().generate_until([requests[i] for i in group], disable_tqdm)
                for number, text in zip(group, made, strict=True):
                    texts[number] = text
        return texts

    @property
    def model(self) -> Any:
        """The model, as text is generated from it."""
        return Generating(self._model, has_encoder=self.backend == "seq2seq")

    def _encoding(self, context: list[int], completion: list[int]) -> Encoded:
        """Return what is scored: too long a context loses its beginning."""
        ids = np.asarray((context + completion)[-(self.max_length + 1) :], dtype=np.int32)
        return Encoded(ids, len(ids) - len(completion))

    def _shape(self, context: str, options: Any) -> tuple[int, bool, bool]:
        """Return what prompts of a batch have in common: length, and a first special token.

        Where tokens are sampled all prompts go one by one in the order of `HFLM`, so that they get
        the random numbers that they get there.
        """
        bos, wanted = self.tokenizer.bos_token, normalize_gen_kwargs(options, self.max_gen_toks)
        n = int(self.tok_batch_encode([context])[0].shape[1])
        most = int(wanted["max_gen_toks"])
        if not n:
            raise AdapterError(
                "a prompt of the task is empty and this tokenizer has no beginning-of-text token; "
                "give the task a prompt"
            )
        if self.backend == "causal" and most >= self.max_length:
            raise AdapterError(
                f"the task asks for {most} new tokens, but the model's context is "
                f"{self.max_length}; write `generation_kwargs: {{max_gen_toks: N}}` in the task"
            )
        if wanted["do_sample"]:
            return 0, False, True
        return n, bos is not None and context.startswith(bos), False

    def _check_length(self, texts: Any, n: int) -> None:
        if 0 < n <= self.max_length:
            return
        shown = repr(texts[1][:60]) if texts else "a text"
        if n:
            raise AdapterError(
                f"{shown} has {n} tokens and the model's context is {self.max_length}; use "
                "shorter texts"
            )
        raise AdapterError(
            f"{shown} is no token of this model after its context; use other continuations"
        )

    def _warn_of_cut(self, lengths: Sequence[int]) -> None:
        n_cut = sum(length > self.max_length + 1 for length in lengths)
        if n_cut and not self._warned:
            self._warned = True
            _log.warning(
                "%d of %d texts do not fit into the model's context of %d tokens and lost their "
                "beginning",
                *(n_cut, len(lengths), self.max_length),
            )

    @contextmanager
    def _batches_of(self, n: int) -> Iterator[None]:
        before, self.batch_size_per_gpu = self.batch_size_per_gpu, n
        try:
            yield
        finally:
            self.batch_size_per_gpu = before


@contextmanager
def _silent() -> Iterator[None]:
    """Silence the log of the harness: what counts of it deeploc says itself."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def made(lm: CausalLM | EncoderDecoder, tokenizer: Tokenizer, score: Score | None) -> HarnessModel:
    """Return the model that the harness asks.

    Parameters
    ----------
    lm, tokenizer, score
        As of `HarnessModel`.

    Raises
    ------
    AdapterError
        If the harness cannot use the tokenizer.
    """
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise AdapterError(
            "the tokenizer has no token that begins or ends a text, without which "
            "lm-evaluation-harness cannot ask a model; set its eos_token"
        )
    try:
        with quiet(), _silent():
            return HarnessModel(lm, tokenizer, score)
    except Exception as error:  # of foreign models and tokenizers the list has no end
        reason = " ".join(str(error).split())[:200]
        raise AdapterError(
            f"lm-evaluation-harness cannot ask this model: {type(error).__name__}: {reason}"
        ) from error
