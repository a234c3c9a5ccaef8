import hashlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from deeploc.errors import ContrastError
from deeploc.generators.arithmetic import (
    ONE_IN,
    differences,
    is_fresh,
    sums,
    training_arithmetic,
)
from deeploc.generators.copying import training_copying
from deeploc.generators.english.jabberwocky import FUNCTION_WORDS, ending_of
from deeploc.generators.english.minimal_pairs import SUITES
from deeploc.generators.english.nonwords import real_words
from deeploc.generators.english.phrases import NOUNS, noun_phrase
from deeploc.generators.english.sentences import training_sentences
from deeploc.generators.registry import GENERATORS, generate
from deeploc.generators.rng import is_held_out, new_rng
from deeploc.generators.theory_of_mind import HALVES, Story, StoryPair, story_pairs

HELD_OUT = ["sentences", "arithmetic", "copying"]

# The first draws of numpy.random.seed(42): randint twice, then choice(["+", "-"]).
MULTIPLE_DEMAND_HARD = [
    "Question: Solve 151 + 192?\nAnswer: 343",
    "Question: Solve 171 + 160?\nAnswer: 331",
    "Question: Solve 182 + 186?\nAnswer: 368",
]
MULTIPLE_DEMAND_EASY = [
    "Question: Solve 7 + 15?\nAnswer: 22",
    "Question: Solve 8 - 7?\nAnswer: 1",
    "Question: Solve 19 + 11?\nAnswer: 30",
]


GOLDEN = {
    "sentences": "cfcec4b7fe67e9d0",
    "word-lists": "8a585ffb1dc84982",
    "jabberwocky": "3913688312177794",
    "nonword-lists": "a6c2c68150de9389",
    "minimal-pairs": "ae148abcae2efc24",
    "arithmetic": "dc48a0904d481bd7",
    "copying": "0ad5fb08190836da",
    "multiple-demand": "ff82cb054420ad91",
    "multiple-demand-paper": "21ccea9387715019",
    "theory-of-mind": "c750ed0616a7a2d9",
}
"""Generator -> start of a sha256 over records of several seeds and all choices of options.

Pixels are left out: they may differ by a few grey levels from one Pillow to the next.
"""


def trained(stream: Iterator[dict[str, str]], n: int) -> list[str]:
    return [record["text"] for record in itertools.islice(stream, n)]


def texts(name: str, seed: int = 0, n: int | None = None, **options: object) -> list[str]:
    return [record["text"] for record in generate(name, n, seed, options)]


def few(name: str) -> int:
    return min(50, GENERATORS[name].default_n)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_same_seed_gives_the_same_records(name: str) -> None:
    """Two requests with one seed agree record by record."""
    n = few(name)

    assert generate(name, n, 3, {}) == generate(name, n, 3, {})


@pytest.mark.parametrize("name", GENERATORS)
def test_another_seed_gives_other_records(name: str) -> None:
    """The seed matters."""
    n = few(name)

    assert generate(name, n, 3, {}) != generate(name, n, 4, {})


@pytest.mark.parametrize("name", GENERATORS)
def test_fewer_records_are_a_prefix_of_more(name: str) -> None:
    """Asking for 10 gives the first 10 of 50."""
    assert generate(name, 10, 1, {}) == generate(name, few(name), 1, {})[:10]


@pytest.mark.parametrize("name", GENERATORS)
def test_the_default_number_of_records(name: str) -> None:
    """None means the default number of the generator."""
    assert len(generate(name, None, 0, {})) == GENERATORS[name].default_n


@pytest.mark.parametrize("name", sorted(set(GENERATORS) - {"multiple-demand-paper", "rendered"}))
def test_records_are_unique(name: str) -> None:
    """No record comes twice."""
    records = [tuple(sorted(record.items())) for record in generate(name, None, 0, {})]

    assert len(set(records)) == len(records)


@pytest.mark.parametrize("name", GOLDEN)
def test_records_are_those_of_earlier_releases(name: str) -> None:
    """Results can be reproduced: no record of any stream changes from one release to the next."""
    choices = GENERATORS[name].choices
    digest = hashlib.sha256()
    for values in itertools.product(*choices.values()):
        options = {**GENERATORS[name].options, **dict(zip(choices, values, strict=True))}
        for seed in (0, 1, 42):
            records = list(itertools.islice(GENERATORS[name].stream(seed, options), 30))
            digest.update(json.dumps(records).encode())

    assert digest.hexdigest()[:16] == GOLDEN[name]


def test_every_stream_of_text_has_a_golden_hash() -> None:
    """A new generator gets one, too."""
    assert GOLDEN.keys() == GENERATORS.keys() - {"rendered"}


def test_records_do_not_depend_on_the_hash_seed() -> None:
    """Another PYTHONHASHSEED, which reorders sets, gives the same records."""
    code = "from deeploc.generators.registry import generate; print(generate('copying', 9, 0, {}))"

    def run(seed: str) -> str:
        command = [sys.executable, "-c", code]
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert run("1") == run("2") != ""


@pytest.mark.parametrize("words", [5, 8, 12, 18])
def test_sentences_have_exactly_the_words_asked_for(words: int) -> None:
    """Every sentence has that many words, in lower case and without punctuation."""
    for text in texts("sentences", n=30, words=words):
        assert len(text.split(" ")) == words
        assert text.replace(" ", "").isalpha()
        assert text.islower()


def test_sentences_use_a_rich_vocabulary() -> None:
    """240 sentences contain hundreds of different words."""
    assert len(set(" ".join(texts("sentences")).split())) > 500


@pytest.mark.parametrize(("seed", "words"), [(0, 12), (7, 8)])
def test_nonwords_have_the_lengths_of_the_sentences(seed: int, words: int) -> None:
    """Word k of list i has as many characters as word k of sentence i."""
    lists = texts("nonword-lists", seed, words=words)
    sentences = texts("sentences", seed, words=words)

    assert [[len(w) for w in t.split()] for t in lists] == [
        [len(w) for w in t.split()] for t in sentences
    ]


def test_nonwords_are_not_words() -> None:
    """No non-word is in our lexicon, in any sentence, or a common function word."""
    nonwords = set(" ".join(texts("nonword-lists")).split())
    english = set(" ".join(trained(training_sentences(0), 3000)).split())
    common = {
        "a",
        "i",
        "the",
        "of",
        "to",
        "in",
        "is",
        "it",
        "he",
        "as",
        "at",
        "be",
        "by",
        "or",
        "on",
        "we",
    }

    assert not nonwords & (real_words() | english | common)


def test_nonwords_are_pronounceable() -> None:
    """Every non-word of two letters or more has a vowel and no run of four consonants."""
    for word in " ".join(texts("nonword-lists")).split():
        runs = "".join("v" if letter in "aeiou" else "c" for letter in word)
        assert "v" in runs
        assert "cccc" not in runs


def test_real_words_know_every_word_of_the_grammar() -> None:
    """What training sentences contain is what non-words avoid."""
    english = set(" ".join(trained(training_sentences(1), 3000)).split())

    assert english <= real_words()


@pytest.mark.parametrize("name", HELD_OUT)
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_evaluation_records_are_held_out(name: str, seed: int) -> None:
    """For every seed, no evaluation text is among many training texts."""
    streams = {
        "sentences": training_sentences,
        "arithmetic": training_arithmetic,
        "copying": training_copying,
    }

    assert not set(trained(streams[name](seed), 3000)) & set(texts(name, seed, n=200))


def test_pairs_are_held_out() -> None:
    """The grammatical sentence of every pair is one that training leaves out."""
    assert all(is_held_out(pair["sentence_good"]) for pair in generate("minimal-pairs", 80, 5, {}))


def test_every_arithmetic_problem_is_trained_on_or_held_out() -> None:
    """Training reaches all problems of the range that evaluation does not have."""
    held_out = texts("arithmetic", n=490)
    seen = set(trained(training_arithmetic(0), 60_000))

    assert len(seen | set(held_out)) == 50 * 50 + 50 * 51 // 2
    with pytest.raises(ContrastError, match="only 490 different ones"):
        texts("arithmetic", n=491)


def test_pairs_are_balanced_over_suites() -> None:
    """400 pairs are 50 of each of eight suites."""
    uids = [pair["UID"] for pair in generate("minimal-pairs", None, 0, {})]

    assert {uid: uids.count(uid) for uid in SUITES} == dict.fromkeys(SUITES, 50)


@pytest.mark.parametrize("uid", SUITES)
def test_pairs_differ_in_one_word(uid: str) -> None:
    """Good and bad have equal lengths and one word is another."""
    for pair in generate("minimal-pairs", 40, 0, {"suite": uid}):
        good, bad = pair["sentence_good"].split(), pair["sentence_bad"].split()
        assert len(good) == len(bad)
        assert sum(a != b for a, b in zip(good, bad, strict=True)) == 1


def test_reflexives_agree_with_gender() -> None:
    """The good pronoun of a singular subject is the one of its gender."""
    male = {noun.singular for noun in NOUNS["male"]}
    for pair in generate("minimal-pairs", 60, 0, {"suite": "reflexive-gender"}):
        words = pair["sentence_good"].split()
        head = next((word for word in words[1:3] if word in male), None)
        if head is not None:
            assert "himself" in words


def test_articles_fit_the_next_word() -> None:
    """``a`` never precedes a vowel, ``an`` never another letter (but a silent h)."""
    for text in trained(training_sentences(2), 2000):
        words = text.split()
        for first, second in itertools.pairwise(words):
            assert not (first == "a" and second[0] in "aeiou"), text
            assert not (first == "an" and second[0] not in "aeiou" and second[:2] != "ho"), text


def test_plural_noun_phrases_are_plural() -> None:
    """A phrase asked for in the plural ends in a plural noun."""
    plurals = {noun.plural for noun in NOUNS["animal"]}
    rng = new_rng("test")

    assert all(noun_phrase(rng, "animal", True).words[-1] in plurals for _ in range(50))


def test_arithmetic_is_right() -> None:
    """Every result is the value of its problem, and none is negative."""
    for record in generate("arithmetic", None, 0, {}):
        left, sign, right, equals = record["prompt"].split(" ")
        value = int(left) + int(right) if sign == "+" else int(left) - int(right)
        assert equals == "="
        assert record["completion"] == f" {value}"
        assert value >= 0
        assert record["text"] == record["prompt"] + record["completion"]


@pytest.mark.parametrize(("operation", "sign"), [("add", "+"), ("subtract", "-")])
def test_arithmetic_keeps_to_one_operation(operation: str, sign: str) -> None:
    """The option chooses the sign."""
    records = generate("arithmetic", 50, 0, {"operation": operation})

    assert all(record["prompt"].split(" ")[1] == sign for record in records)


def test_copying_repeats_its_prompt() -> None:
    """``copy X :`` is continued by X."""
    for record in generate("copying", 50, 0, {}):
        assert record["prompt"] == f"copy{record['completion']} :"
        assert record["text"] == record["prompt"] + record["completion"]
        assert 2 <= len(record["completion"].split()) <= 4


def test_multiple_demand_follows_the_published_stream() -> None:
    """Seed 42 gives the first stimuli of the paper, sampled once by hand with NumPy's generator."""
    assert texts("multiple-demand-paper", 42, 3) == MULTIPLE_DEMAND_HARD
    assert texts("multiple-demand-paper", 42, 3, difficulty="easy") == MULTIPLE_DEMAND_EASY


def test_multiple_demand_has_the_published_repeats() -> None:
    """100 hard stimuli are all different, 100 easy ones are 89 different ones."""
    assert len(set(texts("multiple-demand-paper", 42))) == 100
    assert len(set(texts("multiple-demand-paper", 42, difficulty="easy"))) == 89


@pytest.mark.parametrize(("seed", "words"), [(0, 12), (7, 8)])
def test_word_lists_deal_out_the_words_of_the_sentences(seed: int, words: int) -> None:
    """Every run of lists holds each word of as many sentences once, one of every sentence."""
    lists = [text.split() for text in texts("word-lists", seed, 3 * words, words=words)]
    sentences = [text.split() for text in texts("sentences", seed, 3 * words, words=words)]

    for start in range(0, 3 * words, words):
        run, source = lists[start : start + words], sentences[start : start + words]
        assert sorted(itertools.chain(*run)) == sorted(itertools.chain(*source))
        for dealt in run:
            assert can_be_matched(dealt, source)


def can_be_matched(words: list[str], sentences: list[list[str]]) -> bool:
    """Return whether each word can come from another sentence (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(word: int, tried: set[int]) -> bool:
        for number, sentence in enumerate(sentences):
            if words[word] in sentence and number not in tried:
                tried.add(number)
                if number not in taken or place(taken[number], tried):
                    taken[number] = word
                    return True
        return False

    return all(place(word, set()) for word in range(len(words)))


def test_word_lists_are_not_the_sentences() -> None:
    """Words are in another order than in any sentence: few neighbours are neighbours there."""

    def neighbours(name: str) -> set[tuple[str, str]]:
        return {pair for text in texts(name, 0, 60) for pair in itertools.pairwise(text.split())}

    assert len(neighbours("word-lists") & neighbours("sentences")) < 0.15 * 60 * 11


@pytest.mark.parametrize(("seed", "words"), [(0, 12), (7, 8)])
def test_jabberwocky_keeps_function_words_and_lengths(seed: int, words: int) -> None:
    """Function words stay, all others become strings of the same length that are no words."""
    known = real_words()
    made_up = texts("jabberwocky", seed, 60, words=words)
    for made, sentence in zip(made_up, texts("sentences", seed, 60, words=words), strict=True):
        for new, old in zip(made.split(), sentence.split(), strict=True):
            assert len(new) == len(old)
            assert (new == old) is (old in FUNCTION_WORDS)
            assert new in FUNCTION_WORDS or new not in known


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        *(("dogs", "s"), ("children", "s"), ("men", "s"), ("carries", "s")),
        *(("painted", "ed"), ("written", "ed"), ("stopping", "ing"), ("slowly", "ly")),
        *(("tired", ""), ("ate", ""), ("bus", "")),
    ],
)
def test_jabberwocky_shows_the_form_of_a_word(word: str, ending: str) -> None:
    """Regular and irregular forms get the regular ending, base forms and very short ones none."""
    assert ending_of(word) == ending


def test_jabberwocky_wears_the_endings() -> None:
    """The non-word for an inflected form ends as the form does, after a consonant."""
    for made, sentence in zip(texts("jabberwocky", 0, 60), texts("sentences", 0, 60), strict=True):
        for new, old in zip(made.split(), sentence.split(), strict=True):
            ending = "" if old in FUNCTION_WORDS else ending_of(old)
            assert new.endswith(ending)
            assert not ending or new.removesuffix(ending)[-1] not in "aeiou"


def test_jabberwocky_keeps_articles_right() -> None:
    """``a`` precedes a consonant and ``an`` a vowel."""
    for text in texts("jabberwocky", n=100):
        for first, second in itertools.pairwise(text.split()):
            assert first not in ("a", "an") or (second[0] in "aeiou") is (first == "an"), text


def test_jabberwocky_splits_all_words_of_the_grammar() -> None:
    """No preposition, auxiliary or conjunction of the grammar is replaced: the list is whole."""
    small = {word for word in " ".join(trained(training_sentences(3), 800)).split()}
    kept = {word for word in small if len(word) <= 3} & FUNCTION_WORDS

    assert {"in", "on", "of", "to", "by", "at", "the", "an", "was", "had", "and", "but"} <= kept
    content = {word for word in small if len(word) <= 2} - FUNCTION_WORDS
    assert not content


def solved(difficulty: str, fresh: bool = False, seed: int = 0) -> list[tuple[int, str, int, int]]:
    """Return (first, sign, second, answer) of the problems."""
    options = {"difficulty": difficulty, "fresh": fresh}
    rows = generate("multiple-demand", 100, seed, options)
    split = [(row["prompt"].split(), row["completion"]) for row in rows]
    return [(int(a), sign, int(b), int(answer)) for (a, sign, b, _), answer in split]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("difficulty", ["hard", "easy"])
def test_difficulty_is_carrying_and_nothing_but(difficulty: str, fresh: bool) -> None:
    """All numbers have two digits; exactly the hard problems carry or borrow."""
    for a, sign, b, answer in solved(difficulty, fresh):
        assert answer == (a + b if sign == "+" else a - b)
        assert all(10 <= number <= 99 for number in (a, b, answer))
        carries = a % 10 + b % 10 >= 10 if sign == "+" else a % 10 < b % 10
        assert carries is (difficulty == "hard")


@pytest.mark.parametrize("fresh", [False, True])
def test_hard_and_easy_are_partners(fresh: bool) -> None:
    """Signs alternate, and record k has the same sign and the same tens digits in both."""
    for hard, easy in zip(solved("hard", fresh), solved("easy", fresh), strict=True):
        assert (hard[0] // 10, hard[1], hard[2] // 10) == (easy[0] // 10, easy[1], easy[2] // 10)
    assert [sign for _, sign, _, _ in solved("hard", fresh)] == ["+", "-"] * 50


def test_every_pair_of_partners_is_a_pair() -> None:
    """No problem has two partners: as many easy problems as hard ones, none of them in both."""
    pairs = [*sums(), *differences()]
    sides = [{pair[side] for pair in pairs} for side in ("hard", "easy")]

    assert len(sides[0]) == len(sides[1]) == len(pairs) == 720 + 135
    assert not sides[0] & sides[1]


def test_multiple_demand_stimuli_leave_the_answer_out() -> None:
    """What is read ends in the equals sign."""
    for row in generate("multiple-demand", None, 0, {}):
        assert row["text"] == row["prompt"]
        assert row["text"].endswith("=")


def test_fresh_arithmetic_never_localizes() -> None:
    """For all seeds and difficulties, no fresh problem is among those that localize."""
    options = list(itertools.product(("hard", "easy"), range(4)))
    local = {row for difficulty, seed in options for row in solved(difficulty, False, seed)}
    fresh = {row for difficulty, seed in options for row in solved(difficulty, True, seed)}

    assert not local & fresh


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("difficulty", ["hard", "easy"])
def test_fresh_and_untrained_have_nothing_to_do_with_each_other(
    difficulty: str, fresh: bool
) -> None:
    """About one in eight is untrained, for each part and difficulty."""
    part = [pair[difficulty] for pair in (*sums(), *differences()) if is_fresh(pair) is fresh]
    unknown = sum(is_held_out(problem, ONE_IN) for problem in part) / len(part)

    assert abs(unknown - 1 / ONE_IN) < 3 * (0.125 * 0.875 / len(part)) ** 0.5


@pytest.mark.parametrize(("operation", "sign"), [("add", "+"), ("subtract", "-")])
def test_carrying_keeps_to_one_operation(operation: str, sign: str) -> None:
    """The option chooses the sign, and enough problems of it exist for the shipped contrast."""
    rows = texts("multiple-demand", n=50, operation=operation)

    assert len(set(rows)) == 50
    assert {row.split()[1] for row in rows} == {sign}


@pytest.mark.parametrize("kind", ["belief", "photograph"])
@pytest.mark.parametrize("half", ["first", "second"])
def test_stories_name_both_states_once_in_order(kind: str, half: str) -> None:
    """Each option is named once, in the order of the options, and never in the question."""
    for row in generate("theory-of-mind", 10, 0, {"kind": kind, "half": half}):
        options = json.loads(row["options"])
        named = [word for word in re.findall(r"\w+", row["story"]) if word in options]
        assert named == options
        assert not set(options) & set(re.findall(r"\w+", row["question"]))
        assert row["story"].count(".") == 3
        assert row["text"] == f"{row['story']}\nQuestion: {row['question']}\nAnswer:"


@pytest.mark.parametrize("half", HALVES)
def test_pairs_of_stories_agree(half: str) -> None:
    """Record k of both kinds has the same options and answer, and at most one word more."""
    n = {"both": 20}.get(half, 10)
    kinds = [
        generate("theory-of-mind", n, 5, {"kind": k, "half": half})
        for k in ("belief", "photograph")
    ]

    for belief, photograph in zip(*kinds, strict=True):
        assert belief["options"] == photograph["options"]
        assert belief["answer"] == photograph["answer"]
        lengths = [len(row["text"].split()) for row in (belief, photograph)]
        assert abs(lengths[0] - lengths[1]) <= 1


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("seed", [0, 1])
def test_answers_of_stories_are_balanced(half: str, seed: int) -> None:
    """What the story names first is right as often as what it names second, in every even start."""
    n = {"both": 20}.get(half, 10)
    rows = generate("theory-of-mind", n, seed, {"half": half})
    right = [json.loads(row["options"]).index(row["answer"]) for row in rows]

    assert right == [0, 1] * (n // 2)


def test_halves_of_stories_share_nothing() -> None:
    """Stories that localize are none of those that are evaluated, nor their partners."""
    first, second = (
        {state for pair in story_pairs(half) for state in pair.named}
        for half in ("first", "second")
    )

    assert not first & second
    assert len({pair.named for pair in story_pairs("both")}) == 20


def test_the_right_answer_is_named() -> None:
    """A pair of stories whose recorded state is neither of the two is refused."""
    story = Story("a, then b.", "what?")

    with pytest.raises(ValueError, match="recorded is 'c'; it must be one of"):
        StoryPair(("a", "b"), "c", story, story)


def test_photograph_stories_have_no_minds() -> None:
    """No word for thinking is in a photograph story or its question."""
    minds = {"think", "thinks", "thought", "believe", "believes", "know", "knows", "knew", "expect"}
    for row in generate("theory-of-mind", None, 0, {"kind": "photograph"}):
        assert not minds & set(re.findall(r"\w+", row["text"].lower()))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sentence", {}, "no builtin generator is called 'sentence'; did you mean sentences\\?"),
        ("zzz", {}, "called 'zzz'; there are: arithmetic, copying,"),
        ("sentences", {"word": 12}, "called 'word'; did you mean words\\?"),
        ("copying", {"words": 3}, "no option of copying is called 'words'; it takes none"),
        ("sentences", {"words": "12"}, "option words of sentences is '12'; it must be a int"),
        (
            "sentences",
            {"words": 40},
            "option words of sentences is 40; it must lie between 5 and 18",
        ),
        ("minimal-pairs", {"suite": "agrement"}, "did you mean agreement\\?"),
        ("multiple-demand-paper", {"difficulty": "medium"}, "there are: easy, hard"),
        (
            "multiple-demand",
            {"fresh": "yes"},
            "option fresh of multiple-demand is 'yes'",
        ),
        ("theory-of-mind", {"half": "third"}, "there are: both, first, second"),
    ],
)
def test_what_does_not_exist_is_named(name: str, options: dict[str, object], message: str) -> None:
    """The error names the wrong word, the nearest right one, or all that exist."""
    with pytest.raises(ContrastError, match=message):
        generate(name, 5, 0, options)


@pytest.mark.parametrize("n", [0, -3])
def test_none_is_not_a_number_of_records(n: int) -> None:
    """Fewer than one record is refused."""
    with pytest.raises(ContrastError, match=f"cannot generate {n} sentences"):
        generate("sentences", n, 0, {})


def test_numpy_global_state_is_left_alone() -> None:
    """The published stream has its own generator."""
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.randint(10**9)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    generate("multiple-demand-paper", 10, 42, {})

    assert np.random.randint(10**9) == expected  # noqa: NPY002
