"""Identity: what changes a number changes it, and nothing else does."""

import os
import random
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageOps
from tokenizers import normalizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizer

from deeploc.adapters._torch.identity import structure_hash
from deeploc.adapters._torch.probes import TEXTS, images, preparation_hash
from deeploc.adapters.module import wrap
from deeploc.core.ablation import Ablation
from deeploc.core.units import UnitMask
from deeploc.errors import AdapterError

from .conftest import model_of, tokenizer_of

# preparations


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)),) * 2)


def codes(contents: Sequence[Any], edit: Callable[[str], str] = str) -> Tensor:
    """Return the first eight characters of every text, or fewer, as numbers."""
    rows = [[float(ord(c)) for c in edit(text)[:8]] for text in contents]
    return torch.tensor([row + [0.0] * (8 - len(row)) for row in rows])


def counted(contents: Sequence[Any], edit: Callable[[str], str] = str) -> Tensor:
    """Return the characters of every text, counted by code modulo seven."""
    rows = [np.bincount([ord(c) % 7 for c in edit(text)], minlength=8) for text in contents]
    return torch.tensor(np.array(rows), dtype=torch.float32)


def content_of(preprocess: Callable[..., Any], **options: Any) -> Any:
    return wrap(net(), preprocess=preprocess, name="net", **options).identity["preprocess"]


EDITS: dict[str, Callable[[str], str]] = {
    "case": str.lower,
    "ends": str.strip,
    "start": str.lstrip,
    "white space": lambda text: " ".join(text.split()),
    "digits": lambda text: "".join("0" if c.isdigit() else c for c in text),
    "punctuation": lambda text: "".join(c for c in text if c.isalnum() or c.isspace()),
    "accents": lambda text: unicodedata.normalize("NFKC", text),
    "scripts": lambda text: text.encode("ascii", "ignore").decode(),
    "short": lambda text: text[:100],
    "long": lambda text: text[:1500],
    "words": lambda text: " ".join(text.split(" ")[:256]),
    "quotes": lambda text: text.replace("'", "`"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_preprocess_is_another(edit: str) -> None:
    """Each small change of what texts become changes the hash."""
    edited = content_of(lambda contents: counted(contents, EDITS[edit]))

    assert edited != content_of(counted)


RESULTS: dict[str, Callable[[Tensor], Any]] = {
    "value": lambda x: x + 1e-3,
    "dtype": lambda x: x.double(),
    "shape": lambda x: x[:, None],
    "tuple": lambda x: (x,),
    "mapping": lambda x: {"input": x},
    "key": lambda x: {"x": x},
    "further argument": lambda x: {"input": x, "flag": True},
    "other argument": lambda x: {"input": x, "flag": False},
}


def test_each_form_of_the_result_is_another() -> None:
    """Values, dtype, shape, keys and further arguments all count."""

    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            (x,) = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
            return self.net(x.float())

    hashes = {
        wrap(Takes(), preprocess=lambda c, f=form: f(codes(c))).identity["preprocess"]
        for form in RESULTS.values()
    }
    assert len(hashes) == len(RESULTS)


def test_batches_count() -> None:
    """A preparation that treats texts alike one by one, but not together, is another."""

    def padded(contents: Sequence[Any], value: float) -> Tensor:
        x = codes(contents)
        return x if len(contents) == 1 else torch.where(x == 0, value, x)

    assert content_of(partial(padded, value=1.0)) != content_of(partial(padded, value=2.0))


def test_equal_results_are_equal() -> None:
    """Neither the name nor the place of a function counts."""
    expected = content_of(codes)

    assert content_of(lambda contents: codes(contents)) == expected
    assert content_of(partial(codes)) == expected
    assert content_of(SimpleNamespace(f=codes).f) == expected


def test_exceptions_count_by_type() -> None:
    """A function that takes only some texts has an identity, and its errors are part of it."""

    def picky(error: type[Exception], contents: Sequence[Any]) -> Tensor:
        if any(c.isdigit() for text in contents for c in text):
            raise error("no digits")
        return codes(contents)

    one, again, other = (
        content_of(partial(picky, error)) for error in (KeyError, KeyError, ValueError)
    )
    assert one == again != other
    assert one != content_of(codes)


def test_image_files_are_probes_where_the_example_is_one(tmp_path: Path) -> None:
    """A function of paths is identified by its results for image files."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (20, 20), (128, 128, 128)).save(path)

    def pixels(contents: Sequence[Any], flip: bool = False) -> Tensor:
        opened = [Image.open(file).convert("L").resize((8, 1)) for file in contents]
        rows = [np.asarray(ImageOps.mirror(x) if flip else x, np.float32)[0] for x in opened]
        return torch.tensor(np.array(rows))

    plain, again = (content_of(pixels, example=[path]) for _ in range(2))
    assert plain == again != content_of(partial(pixels, flip=True), example=[path])


def small(image: Image.Image, *, resample: Any = Image.Resampling.BICUBIC) -> Tensor:
    pixels = np.asarray(image.resize((64, 64), resample), np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)


def cropped(image: Image.Image) -> Tensor:
    return small(ImageOps.fit(image, (64, 64)))


TRANSFORMS: dict[str, Callable[[Image.Image], Tensor]] = {
    "plain": small,
    "interpolation": partial(small, resample=Image.Resampling.BILINEAR),
    "crop": cropped,
    "mirrored": lambda image: small(ImageOps.mirror(image)),
    "upside down": lambda image: small(ImageOps.flip(image)),
    "grey": lambda image: small(image.convert("L").convert("RGB")),
    "channels": lambda image: small(image).flip(0),
    "scale": lambda image: small(image) * 255,
    "mean": lambda image: small(image) - 0.5,
    "size": lambda image: small(image)[:, :63],
    "large only": lambda image: small(image.resize((256, 256)) if image.width > 500 else image),
}


def test_edited_transform_is_another() -> None:
    """Size, crop, interpolation, orientation, colour and scale all count."""
    module = timm.create_model("test_resnet").eval()
    adapters = [wrap(module, transform=transform) for transform in TRANSFORMS.values()]
    hashes = [adapter.identity["preparation"]["transform"] for adapter in adapters]
    again = wrap(module, transform=lambda image: small(image)).identity["preparation"]

    assert len(set(hashes)) == len(TRANSFORMS)
    assert again["transform"] == hashes[0]


def noisy(contents: Sequence[Any]) -> Tensor:
    return codes(contents) + torch.rand(8) + random.random() + np.random.rand()  # noqa: NPY002


def test_random_preparations_are_refused() -> None:
    """One line that says what is wrong, and what to leave out."""

    def mirrored(image: Image.Image) -> Tensor:
        return small(ImageOps.mirror(image) if random.random() < 0.5 else image)

    with pytest.raises(AdapterError, match=r"^preprocess of net gives two different results for t"):
        wrap(net(), preprocess=noisy, name="net")
    with pytest.raises(AdapterError, match=r"^transform of cnn gives two .* leave out what is ran"):
        wrap(timm.create_model("test_resnet").eval(), transform=mirrored, name="cnn")


def test_probes_leave_random_numbers_alone() -> None:
    """What a preparation draws is drawn again by the caller."""
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    with pytest.raises(AdapterError):
        preparation_hash(noisy, [["a"]], name="noisy")

    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))  # noqa: NPY002


def test_identity_is_fast_and_leaves_the_threads_alone() -> None:
    """The probes cost well under a second and run on one thread, but only they."""
    transform = timm.data.create_transform((3, 224, 224))
    module = timm.create_model("test_resnet").eval()
    seconds = []
    before = torch.get_num_threads()
    for _ in range(3):
        adapter = wrap(module, transform=transform)
        start = time.perf_counter()
        assert adapter.identity
        seconds.append(time.perf_counter() - start)

    assert min(seconds) < 0.5
    assert torch.get_num_threads() == before


def test_probes_are_what_they_promise() -> None:
    """Texts from none to hundreds of words, images of all shapes; equal in every call."""
    lengths = [len(text.split()) for text in TEXTS]
    sizes = [image.size for image in images().values()]

    assert min(lengths) == 0
    assert max(lengths) == 400
    assert len(set(TEXTS)) == len(TEXTS)
    assert {(w > h) - (w < h) for w, h in sizes} == {-1, 0, 1}
    assert min(w * h for w, h in sizes) < 200
    assert max(w * h for w, h in sizes) > 400_000


# code and settings of modules

CODE = """\
import torch
from torch import nn

SLOPE = 0.1


def act(x):
    return torch.where(x > 0, x, SLOPE * x)


class Base(nn.Module):
    def read(self, x):
        return self.linear(x)


class Block(Base):
    scale = 1.0

    def __init__(self, shift=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(8, 8)
        self.shift = shift
        self.last = lambda x: x + 1

    def forward(self, x):
        def inner(y):
            return act(self.read(y)) if "relu" in {"relu", "act", "gelu", "other"} else y
        return self.last(self.scale * inner(x) + self.shift)


def make():
    return nn.Sequential(Block(), Block())
"""
CHANGES = {
    "forward": ("inner(x) + self.shift", "inner(x) - self.shift"),
    "inner function": ("act(self.read(y))", "self.read(y)"),
    "base class": ("return self.linear(x)", "return self.linear(x) + 1"),
    "class attribute": ("scale = 1.0", "scale = 2.0"),
    "instance attribute": ("shift=0.0", "shift=0.5"),
    "helper": ("x > 0", "x > 1"),
    "constant of the module": ("SLOPE = 0.1", "SLOPE = 0.2"),
    "lambda": ("lambda x: x + 1", "lambda x: x + 2"),
    "constant in the code": ('"relu" in', '"tanh" in'),
    "members of a set": ('"other"}', '"another"}'),
}


def made(folder: Path, source: str, *, with_source: bool = True) -> nn.Module:
    """Return what ``make`` in ``source`` makes; without source only the code is left."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "deeploc_test_code.py"
    file.write_text(source)
    spec = spec_from_file_location("deeploc_test_code", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if not with_source:
        file.unlink()
    result: nn.Module = module.make()
    return result


def described(module: nn.Module) -> tuple[Any, Any]:
    identity = wrap(module, preprocess=codes, name="mine").identity
    return identity["code"], identity["settings"]


@pytest.mark.parametrize("with_source", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_edited_module_is_another(tmp_path: Path, change: str, with_source: bool) -> None:
    """With equal weights, any change of the code that runs changes the identity."""
    before, after = CHANGES[change]
    assert before in CODE
    plain, again, edited = (
        described(made(tmp_path / name, source, with_source=with_source))
        for name, source in [
            ("plain", CODE),
            ("again", CODE),
            ("edited", CODE.replace(before, after)),
        ]
    )
    assert plain == again != edited


def test_another_class_beside_it_does_not_count(tmp_path: Path) -> None:
    """Code that the module does not use may change."""
    further = CODE + "\n\ndef unused():\n    return 3\n"

    assert described(made(tmp_path / "a", CODE)) == described(made(tmp_path / "b", further))


SETTINGS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "approximate": lambda: nn.GELU(approximate="tanh"),
    "leaky": lambda: nn.LeakyReLU(0.1),
    "leakier": lambda: nn.LeakyReLU(0.2),
    "norm": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "other eps": lambda: nn.LayerNorm(8, eps=0.1, elementwise_affine=False),
}


def test_settings_without_weights_count() -> None:
    """Layers that differ in no weight, only in kind or in a number, are other models."""
    adapters = [
        wrap(nn.Sequential(net(), make()), preprocess=codes, sites=["0"], name="mine")
        for make in SETTINGS.values()
    ]
    assert len({adapter.identity["weights"] for adapter in adapters}) == 1
    assert len({adapter.identity["settings"] for adapter in adapters}) == len(SETTINGS)


def test_hooks_of_the_user_count_and_ours_do_not() -> None:
    """A hook that was set before changes what the model computes; an ablation is no other model."""
    hooked = net()
    hooked[0].register_forward_hook(lambda _m, _a, output: output * 2)
    plain, other = (wrap(module, preprocess=codes, name="net") for module in (net(), hooked))
    mask = UnitMask(plain.sites, np.ones(plain.sites.n_units, dtype=bool))
    fresh = wrap(net(), preprocess=codes, name="net")
    with fresh.ablated(Ablation(mask)):
        inside = fresh.identity

    assert "code" not in plain.identity
    assert "code" in other.identity
    assert inside == plain.identity


def test_code_of_libraries_is_known_by_name() -> None:
    """Networks of torch, timm and transformers have no hash of code."""
    vision = wrap(timm.create_model("test_vit").eval(), transform=small160)
    text = wrap(model_of("gpt2"), tokenizer=tokenizer_of())

    assert "code" not in vision.identity
    assert "code" not in text.identity


def small160(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((160, 160)), np.float32)).permute(2, 0, 1)


# tokenizers


class Letters(PreTrainedTokenizer):
    """A tokenizer in Python whose vocabulary says nothing of its normalization."""

    def __init__(self, *, do_lower_case: bool = False, **options: Any) -> None:
        self.do_lower_case = do_lower_case
        self.letters = [chr(i) for i in range(32, 127)]
        super().__init__(unk_token=" ", **options)

    @property
    def vocab_size(self) -> int:
        return len(self.letters)

    def get_vocab(self) -> dict[str, int]:
        return {letter: i for i, letter in enumerate(self.letters)}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text.lower() if self.do_lower_case else text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.get_vocab().get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return self.letters[index]


class Reversed(Letters):
    def _tokenize(self, text: str, **options: Any) -> list[str]:
        return super()._tokenize(text, **options)[::-1]


def tokenizer_identity(tokenizer: Any) -> dict[str, Any]:
    identity: Mapping[str, Any] = wrap(model_of("gpt2"), tokenizer=tokenizer).identity
    return {key: value for key, value in identity.items() if key != "tokenizer"}


def test_slow_tokenizers_count_by_what_they_do() -> None:
    """Options and overridden methods decide ids, and are in no vocabulary."""
    plain, again = (tokenizer_identity(Letters()) for _ in range(2))
    lower = tokenizer_identity(Letters(do_lower_case=True))
    turned = tokenizer_identity(Reversed())

    assert plain == again
    assert len({str(identity) for identity in (plain, lower, turned)}) == 3


def test_fast_tokenizers_count_by_what_they_do() -> None:
    """A normalizer that is set later counts; sides and lengths of padding do not."""
    lower, sides = tokenizer_of(), tokenizer_of()
    lower.backend_tokenizer.normalizer = normalizers.Lowercase()
    sides.padding_side = sides.truncation_side = "left"
    sides.model_max_length = 7
    plain = tokenizer_identity(tokenizer_of())

    assert tokenizer_identity(lower) != plain
    assert tokenizer_identity(sides) == plain


# processes

PROCESS = """\
import json, sys
import numpy as np
import torch
from torch import nn

torch.set_num_threads(int(sys.argv[1]))
sys.path.insert(0, sys.argv[2])
import deeploc_test_code
from deeploc.adapters.module import wrap

def centred(contents):
    x = torch.tensor([[float(ord(c)) for c in (text * 9000 or "a")[:8192]] for text in contents])
    return (x - x.mean()).view(len(x), -1, 8)[:, 0]

def standardized(image):
    x = torch.from_numpy(np.asarray(image.resize((256, 256)), np.float32)).permute(2, 0, 1) / 255
    return (x - x.mean()) / x.std()

cnn = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)),) * 2)
for parameter in cnn.parameters():
    parameter.data.fill_(0.1)
text = wrap(deeploc_test_code.make(), preprocess=centred, example=["abc"])
image = wrap(cnn, transform=standardized)
print(json.dumps([text.identity, image.identity], sort_keys=True))
"""


@pytest.mark.slow
def test_identity_does_not_depend_on_process_threads_or_hash_seed(tmp_path: Path) -> None:
    """Two fresh processes that differ in both print the same."""
    made(tmp_path, CODE)
    processes = []
    for threads in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", PROCESS, threads, str(tmp_path)]
        processes.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path
            )
        )
    printed = [process.communicate()[0] for process in processes]

    assert printed[0] == printed[1]
    assert '"code"' in printed[0]


# the hash itself

X = torch.arange(6, dtype=torch.float32).view(2, 3)
UNEQUAL: list[Any] = [
    *(X, X.double(), X.view(3, 2), X + 1, X.numpy(), X.tolist(), (X,), [X], {"a": X}, {"b": X}),
    *(
        X.bfloat16(),
        X.bool(),
        X.to(torch.complex64),
        X.int(),
        X[:0],
        None,
        0,
        0.0,
        False,
        "0",
        b"0",
    ),
    *([[1], [2]], [[1, 2]], [1, [2]], (1, 2), {1, 2}, {1: 2}, ["ab", "c"], ["a", "bc"]),
    *(np.array([1, None]), Image.new("L", (2, 3)), Image.new("L", (3, 2)), SimpleNamespace(a=1)),
    *(SimpleNamespace(a=2), np.float32(1), np.float64(1)),
]


def test_unequal_values_have_unequal_hashes() -> None:
    """Every difference in type, dtype, shape, nesting or value counts."""
    assert len({structure_hash(value) for value in UNEQUAL}) == len(UNEQUAL)


def test_equal_values_have_equal_hashes() -> None:
    """Memory order, the order of mappings and sets, and gradients do not count."""
    turned = X.t().contiguous().t()
    pairs = [
        (X, turned),
        (X, X.clone().requires_grad_()),
        (X.to_sparse(), X),
        ({"a": 1, "b": X}, {"b": X, "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (np.asfortranarray(X.numpy()), X.numpy()),
    ]
    assert not turned.is_contiguous()
    for one, other in pairs:
        assert structure_hash(one) == structure_hash(other)


def test_values_that_contain_themselves_have_a_hash() -> None:
    """A cycle ends."""
    value: list[Any] = [1]
    value.append(value)

    assert structure_hash(value) != structure_hash([1, [1]])
