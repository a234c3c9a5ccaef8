"""Train the bundled reference language model on texts that deeploc generates.

    python scripts/train_reference_lm.py [--out FOLDER] [--seed N]

The architecture of GPT-2, 4 blocks of 64 dimensions, trained from random weights on a mixture of
three kinds of text: English from the grammar, small arithmetic, copying of non-words. The records
of the generators are held out of training (`deeploc.generators.registry`). In a first phase only
predictable tokens are targets, because the model then learns faster; then every token, as in any
language model. About fifteen minutes on one CPU core.
"""

import argparse
import math
import random
from collections.abc import Iterator, Mapping
from itertools import chain, cycle, islice
from pathlib import Path

import torch
from reference_lm_abilities import abilities
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    set_seed,
)

from deeploc.generators.arithmetic import training_arithmetic
from deeploc.generators.copying import training_copying
from deeploc.generators.english.sentences import training_sentences

END = "<|endoftext|>"  # begins and ends every text, and pads
VOCABULARY = 1536
CONTEXT = 128  # tokens
BATCH = 16  # rows of CONTEXT tokens
WEIGHTS = {"english": 0.4, "arithmetic": 0.35, "copying": 0.25}  # shares of the training texts
IGNORED = -100  # marks positions that are not targets
RATE = 4e-3  # the largest learning rate
STEPS = 4500  # on predictable tokens
STEPS_EVERYTHING = 1500  # on every token
WARMUP = 100  # steps
BUNDLED = Path(__file__).parents[1] / "deeploc" / "reference" / "lm"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=BUNDLED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    set_seed(options.seed)
    tokenizer = train_tokenizer(options.seed)
    model = new_model(tokenizer, options.layers, options.width)
    predictable = train(model, batches(tokenizer, options.seed), STEPS, RATE)
    everything = map(every_token, batches(tokenizer, options.seed + 1))
    for step in chain(predictable, train(model, everything, STEPS_EVERYTHING, RATE / 2)):
        if step % 500 == 0:
            print_scores(step, abilities(model, tokenizer))
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)


def print_scores(step: int, scores: Mapping[str, float]) -> None:
    """Print the abilities of the model after a step."""
    for name, value in scores.items():
        print(f"step {step}  {name}: {value:.4g}", flush=True)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE, trained on English and signs; digits are single, text lower case.

    Non-words are not in its training data: they become short pieces, which makes copying a task.
    """
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.Lowercase()
    digits = pre_tokenizers.Digits(individual_digits=True)
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    english = (record["text"] for record in islice(training_sentences(seed), 20_000))
    signs = islice(cycle(["12 + 7 = 19", "12 - 7 = 5", "copy :"]), 600)
    core.train_from_iterator(chain(english, signs), trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, core.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
    )


def new_model(tokenizer: PreTrainedTokenizerFast, layers: int, width: int) -> GPT2LMHeadModel:
    """Return the untrained network; no dropout, which would make it robust to ablations."""
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = GPT2LMHeadModel(config).eval()
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    return model


def records(seed: int) -> Iterator[Mapping[str, str]]:
    """Yield training records of the three kinds, mixed."""
    streams = {
        "english": training_sentences(seed),
        "arithmetic": training_arithmetic(seed),
        "copying": training_copying(seed),
    }
    rng = random.Random(seed)
    while True:
        for name in rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=256):
            yield next(streams[name])


def batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[torch.Tensor]:
    """Yield token ids and targets, (2, BATCH, CONTEXT); a row is whole texts, the last truncated.

    Every row starts where a text starts, as after training.
    """
    stream = records(seed)
    while True:
        rows = [list(islice(tokens(tokenizer, stream), CONTEXT)) for _ in range(BATCH)]
        yield torch.tensor(rows).permute(2, 0, 1)


def tokens(
    tokenizer: PreTrainedTokenizerFast, stream: Iterator[Mapping[str, str]]
) -> Iterator[tuple[int, int]]:
    """Yield the id of each token and its target.

    Prompts are random (operands, non-words) and cannot be learnt, so they are not targets. The end
    token is one: it begins each text and thereby ends the one before.
    """
    while True:
        chunk = list(islice(stream, 12))
        texts = tokenizer([record["text"] for record in chunk])["input_ids"]
        prompts = tokenizer([record.get("prompt", "") for record in chunk])["input_ids"]
        for ids, prompt in zip(texts, prompts, strict=True):
            for position, token in enumerate(ids):
                yield token, IGNORED if 0 < position < len(prompt) else token


def every_token(batch: torch.Tensor) -> torch.Tensor:
    """Return the batch with each of its tokens a target, as in any language model."""
    return torch.stack([batch[0], batch[0]])


def train(
    model: GPT2LMHeadModel, data: Iterator[torch.Tensor], steps: int, rate: float
) -> Iterator[int]:
    """Minimize the loss on the targets; yield the number of each completed step."""
    optimizer = torch.optim.AdamW(
        model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, steps))
    for step in range(1, steps + 1):
        ids, targets = next(data)
        # Rows hold no padding, only text ends that share its token: every position is attended.
        hidden = model.transformer(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        wanted = targets[:, 1:] != IGNORED  # the head is expensive: only where it is trained
        loss = cross_entropy(model.lm_head(hidden[:, :-1][wanted]), targets[:, 1:][wanted])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step}  loss (nats per token): {loss.item():.3f}", flush=True)
        yield step


def rate_share(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a warm-up, then a cosine to zero."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP)))


if __name__ == "__main__":
    main()
