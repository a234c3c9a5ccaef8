"""Measure the abilities of the reference language model on held-out records."""

import math
from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from deeploc.generators.registry import generate

SEED = 0  # of the evaluation records; every seed of the generators is held out of training


def abilities(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Return the perplexity of sentences and the accuracies of the other abilities, by suite.

    Parameters
    ----------
    model
        A causal language model.
    tokenizer
        Its tokenizer.
    """
    scores = {"sentences perplexity": perplexity(model, tokenizer)}
    pairs = generate("minimal-pairs", 800, SEED, {})
    for suite in sorted({pair["UID"] for pair in pairs}):
        chosen = [pair for pair in pairs if pair["UID"] == suite]
        scores[f"minimal-pairs {suite}"] = pair_accuracy(model, tokenizer, chosen)
    scores["minimal-pairs all"] = pair_accuracy(model, tokenizer, pairs)
    for task in ("arithmetic", "copying"):
        match, nll = continuation(model, tokenizer, generate(task, None, SEED, {}))
        scores |= {f"{task} exact match": match, f"{task} nll (nats per token)": nll}
    return scores


def perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> float:
    """Return the perplexity per token of held-out sentences.

    Parameters
    ----------
    model
        A causal language model.
    tokenizer
        Its tokenizer.
    """
    texts = [record["text"] for record in generate("sentences", None, SEED, {})]
    logprobs, _, mask = score(model, tokenizer, texts)
    return math.exp(-(logprobs * mask).sum().item() / mask.sum().item())


def pair_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Mapping[str, str]]
) -> float:
    """Return the share of pairs whose grammatical sentence is more probable.

    Parameters
    ----------
    model
        A causal language model.
    tokenizer
        Its tokenizer.
    pairs
        Records of the generator minimal-pairs.
    """
    good, _, good_mask = score(model, tokenizer, [pair["sentence_good"] for pair in pairs])
    bad, _, bad_mask = score(model, tokenizer, [pair["sentence_bad"] for pair in pairs])
    return float(((good * good_mask).sum(1) > (bad * bad_mask).sum(1)).double().mean())


def continuation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, records: Sequence[Mapping[str, str]]
) -> tuple[float, float]:
    """Return the exact match of greedy decoding, and the nll per token (nats) of completions.

    Parameters
    ----------
    model
        A causal language model.
    tokenizer
        Its tokenizer.
    records
        Prompts and completions.
    """
    prompts = tokenizer([record["prompt"] for record in records])["input_ids"]
    logprobs, greedy, mask = score(model, tokenizer, [record["text"] for record in records])
    for row, prompt in enumerate(prompts):
        mask[row, : len(prompt) - 1] = False
    match = (greedy | ~mask).all(1).double().mean()
    return float(match), -(logprobs * mask).sum().item() / mask.sum().item()


@torch.no_grad()
def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log probability, whether greedy decoding agrees, and mask, each (text, token).

    Parameters
    ----------
    model
        A causal language model.
    tokenizer
        Its tokenizer.
    texts
        The texts.
    """
    batch = tokenizer(list(texts), return_tensors="pt", padding=True)
    mask = batch["attention_mask"][:, 1:].bool()
    logits = model(**batch).logits[:, :-1]
    targets = batch["input_ids"][:, 1:]
    logprobs = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return logprobs.double(), logits.argmax(-1) == targets, mask
