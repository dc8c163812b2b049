"""What is special to each augmentation: labels survive it, and it does to training what it is there for."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given as for_any
from hypothesis import strategies as st
from torch.nn import functional as F

from autoopt.objectives.tasks.token_classification.task import TokenClassification
from autoopt.strategies.adaptation.full_finetuning import FullFinetuning
from autoopt.strategies.augmentation.adversarial_training import AdversarialTraining
from autoopt.strategies.augmentation.back_translation import BackTranslation, translate
from autoopt.strategies.augmentation.character_noise import CharacterNoise
from autoopt.strategies.augmentation.class_weights import ClassWeights
from autoopt.strategies.augmentation.cutoff import Cutoff
from autoopt.strategies.augmentation.entity_resampling import EntityResampling
from autoopt.strategies.augmentation.label_smoothing import LabelSmoothing
from autoopt.strategies.augmentation.mention_replacement import MentionReplacement
from autoopt.strategies.augmentation.mixup import Mixup
from autoopt.strategies.augmentation.negative_questions import NegativeQuestions
from autoopt.strategies.augmentation.oversampling import Oversampling
from autoopt.strategies.augmentation.random_edits import RandomEdits
from autoopt.strategies.augmentation.synonym_replacement import SynonymReplacement
from autoopt.strategies.candidate import Candidate, Example, Objective, Span, own_loss, run
from autoopt.strategies.errors import ModelError
from autoopt.strategies.strategy import Strategy
from autoopt.strategies.texts.mentions import mentions
from autoopt.strategies.texts.noise import hide
from autoopt.strategies.training.batches import collate
from autoopt.strategies.training.losses import CrossEntropy
from autoopt.strategies.training.teacher_outputs import output_divergence
from tests import tiny, tiny_given

TRAINED = FullFinetuning(learning_rate=2e-3, epochs=15, head_first=False)
SHAPING = [
    LabelSmoothing(),
    Mixup(),
    Cutoff(),
    AdversarialTraining(),
    AdversarialTraining(steps=3),
]


@pytest.fixture(scope="module")
def given() -> Candidate:
    return tiny.candidate()


@pytest.fixture(scope="module")
def plain(given: Candidate) -> Candidate:
    return TRAINED.apply(given, effort=1, seed=0)


def trained_with(given: Candidate, strategy: Strategy) -> Candidate:
    return TRAINED.apply(strategy.apply(given, effort=1, seed=0), effort=1, seed=0)


def batch_of(given: Candidate, count: int = 12) -> dict[str, Any]:
    return collate(given.task.encode(tiny.examples(count, seed=3), given.tokenizer), pad_token_id=0)


@pytest.mark.parametrize("strategy", SHAPING, ids=repr)
def test_the_task_is_learned_all_the_same_and_other_weights_with_it(
    given: Candidate, plain: Candidate, strategy: Strategy
) -> None:
    shaped = trained_with(given, strategy)
    assert tiny.accuracy(shaped) > 0.8
    assert tiny.digest(shaped.model) != tiny.digest(plain.model)


def test_label_smoothing_makes_answers_less_sure(given: Candidate, plain: Candidate) -> None:
    smoothed = trained_with(given, LabelSmoothing(share=0.2))
    sureness = [float(tiny.logits(found).softmax(-1).amax(-1).mean()) for found in (smoothed, plain)]
    assert sureness[0] < 0.95 < sureness[1]


@pytest.mark.parametrize(("power", "ratio"), [(1.0, 3.0), (0.5, 3.0**0.5)])
def test_class_weights_are_inverse_frequencies_of_mean_one(given: Candidate, power: float, ratio: float) -> None:
    lopsided = replace(given, train=(*given.train[::2], *given.train[1:9:2]))  # 12 of one class, 4 of the other.
    weighted = ClassWeights(power=power).apply(lopsided, effort=1, seed=0)
    weights = weighted.criterion.weights  # type: ignore[attr-defined]
    assert weights[1] / weights[0] == pytest.approx(ratio)
    assert (12 * weights[0] + 4 * weights[1]) / 16 == pytest.approx(1.0)
    batch = batch_of(given)
    expected = F.cross_entropy(run(given.model, batch).logits, batch["labels"], weight=torch.tensor(weights))
    torch.testing.assert_close(weighted.criterion(run(given.model, batch), batch), expected)


def test_class_weights_and_label_smoothing_keep_each_other(given: Candidate) -> None:
    steps = (LabelSmoothing(share=0.2), ClassWeights())
    for order in (steps, steps[::-1]):
        candidate = given
        for step in order:
            candidate = step.apply(candidate, effort=1, seed=0)
        assert candidate.criterion == CrossEntropy(smoothing=0.2, weights=(1.0, 1.0))


def test_a_class_without_examples_has_no_weight(given: Candidate) -> None:
    one_class = replace(given, train=given.train[::2])
    assert ClassWeights().apply(one_class, effort=1, seed=0).criterion == CrossEntropy(weights=(1.0, 0.0))


def test_mixup_of_two_examples_is_the_mixture_of_their_losses(
    given: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of the first and nothing of the second it is the plain loss."""
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda *_: torch.tensor(1.0))
    mixed = Mixup().apply(given, effort=1, seed=0)
    batch = batch_of(given)
    batch["attention_mask"] = torch.ones_like(batch["attention_mask"])  # Else it is that of two examples together.
    assert mixed.shaper is not None
    loss = mixed.shaper(Objective(run, mixed.criterion), mixed.model, batch)
    torch.testing.assert_close(loss, own_loss(run(given.model, batch), batch))


def test_mixup_keeps_to_smoothed_labels(given: Candidate) -> None:
    smoothed = LabelSmoothing().apply(given, effort=1, seed=0)
    assert Mixup().apply(smoothed, effort=1, seed=0).criterion is smoothed.criterion


def disagreement(candidate: Candidate) -> float:
    """Between what is answered to whole texts and to texts with words hidden."""
    batch = batch_of(candidate, 60)
    torch.manual_seed(0)
    with torch.inference_mode():
        whole = candidate.model(**batch)
        part = candidate.model(**{**batch, "attention_mask": hide(batch["attention_mask"], 0.3)})
    return float(output_divergence(part, whole, batch, problem="single_label_classification"))


def test_cutoff_makes_answers_depend_less_on_single_words(given: Candidate, plain: Candidate) -> None:
    assert disagreement(trained_with(given, Cutoff(share=0.2, agreement=2.0))) < 0.8 * disagreement(plain)


def attacked_loss(candidate: Candidate, size: float) -> float:
    """The loss when the words' embeddings are moved to where it grows most."""
    model: Any = candidate.model
    batch = batch_of(candidate, 60)
    words = model.get_input_embeddings()(batch.pop("input_ids")).detach().requires_grad_()
    (slope,) = torch.autograd.grad(model(**batch, inputs_embeds=words).loss, words)
    length = size * words.detach().flatten(1).norm(dim=1) / slope.flatten(1).norm(dim=1)
    with torch.inference_mode():
        return float(model(**batch, inputs_embeds=words + slope * length[:, None, None]).loss)


@pytest.mark.parametrize("steps", [1, 3])
def test_adversarial_training_makes_the_answers_hard_to_upset(given: Candidate, plain: Candidate, steps: int) -> None:
    hardened = trained_with(given, AdversarialTraining(size=0.1, steps=steps))
    assert attacked_loss(hardened, 0.1) < 0.8 * attacked_loss(plain, 0.1)


@for_any(labels=st.lists(st.integers(0, 3), max_size=60), balance=st.sampled_from([0.5, 1.0]), seed=st.integers(0, 99))
def test_oversampling_brings_every_class_towards_the_largest(
    given: Candidate, labels: list[int], balance: float, seed: int
) -> None:
    train = tuple(Example(f"text {number}", label) for number, label in enumerate(labels))
    result = Oversampling(balance=balance).apply(replace(given, train=train), effort=1, seed=seed)
    before, after = Counter(labels), Counter(example.label for example in result.train)
    largest = max(before.values(), default=0)
    assert result.train[: len(train)] == train
    assert set(result.train) == set(train)
    assert after == {label: count + round(balance * (largest - count)) for label, count in before.items()}


def test_oversampling_repeats_the_examples_of_a_class_evenly(given: Candidate) -> None:
    train = (*(Example(f"common {number}", 0) for number in range(11)), *(Example(f"rare {n}", 1) for n in range(3)))
    counts = Counter(Oversampling().apply(replace(given, train=train), effort=1, seed=0).train)
    assert sorted(counts[example] for example in train if example.label == 1) == [3, 4, 4]


@for_any(
    texts=st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=6),
    errors=st.sampled_from(["keyboard", "scanner"]),
    share=st.sampled_from([0.05, 0.2]),
    seed=st.integers(0, 1000),
)
def test_character_noise_keeps_labels_and_the_number_of_words(
    given: Candidate, texts: list[str], errors: str, share: float, seed: int
) -> None:
    train = tuple(Example(text, number % 2) for number, text in enumerate(texts))
    result = CharacterNoise(errors=errors, share=share).apply(replace(given, train=train), effort=1, seed=seed)
    assert result.train[: len(train)] == train
    for original, copy in zip(train, result.train[len(train) :], strict=True):
        old, new = original.text.split(), copy.text.split()
        assert copy.label == original.label
        assert len(new) == len(old)
        assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(old, new, strict=True))
        assert sum(a != b for a, b in zip(old, new, strict=True)) <= max(1, round(share * len(old)))


def test_typing_errors_and_scanning_errors_are_of_different_kinds(given: Candidate) -> None:
    train = (Example("looking for Ideas", 0),) * 200
    lengths = {
        errors: {
            len(example.text)
            for example in CharacterNoise(errors=errors).apply(replace(given, train=train), effort=1, seed=0).train
        }
        for errors in ("keyboard", "scanner")
    }
    assert lengths["scanner"] == {len(train[0].text)}
    assert lengths["keyboard"] == {len(train[0].text) + change for change in (-1, 0, 1)}


# named entities and questions

TAGS = ("O", "B-person", "I-person", "B-place", "I-place")


def tagged(given: Candidate, *sentences: tuple[str, tuple[int, ...]]) -> Candidate:
    task = TokenClassification(labels=TAGS, max_length=16)
    return replace(given, task=task, train=tuple(Example(text, tags) for text, tags in sentences))


def spoken(given: Candidate, example: Example) -> list[tuple[str, str]]:
    """The type and the words of each entity."""
    found = mentions(tagged(given), [example])[0]
    return [(mention.type, " ".join(mention.words)) for mention in found]


names = st.sampled_from(
    [("person", "Ada"), ("person", "Alan Mathison Turing"), ("place", "Zürich"), ("place", "São Paulo")]
)
plain_words = st.text(alphabet=st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=6).map(
    lambda w: ("", w)
)


@st.composite
def sentences(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    words: list[str] = []
    tags: list[int] = []
    for kind, text in draw(st.lists(names | plain_words, min_size=1, max_size=8)):
        parts = text.split(" ")
        words += parts
        tags += [TAGS.index(f"{'I' if place else 'B'}-{kind}") if kind else 0 for place in range(len(parts))]
    return " ".join(words), tuple(tags)


@for_any(given_sentences=st.lists(sentences(), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_mention_replacement_keeps_each_word_with_its_tag(
    given: Candidate, given_sentences: list[tuple[str, tuple[int, ...]]], seed: int
) -> None:
    start = tagged(given, *given_sentences)
    result = MentionReplacement(share=1.0).apply(start, effort=1, seed=seed)
    sources = [example for example in start.train if spoken(given, example)]
    known = {mention for example in sources for mention in spoken(given, example)}
    made = result.train[len(start.train) :]
    assert result.train[: len(start.train)] == start.train
    assert len(made) == len(sources)
    for source, copy in zip(sources, made, strict=True):
        assert len(copy.text.split(" ")) == len(copy.label)  # type: ignore[arg-type]
        assert [kind for kind, _ in spoken(given, copy)] == [kind for kind, _ in spoken(given, source)]
        assert set(spoken(given, copy)) <= known


def test_mentions_are_really_exchanged(given: Candidate) -> None:
    start = tagged(given, ("Ada saw Rome", (1, 0, 3)), ("Alan Turing saw Bath", (1, 2, 0, 3)))
    texts = {
        example.text
        for seed in range(9)
        for example in MentionReplacement(share=1.0).apply(start, effort=1, seed=seed).train
    }
    assert {"Alan Turing saw Rome", "Ada saw Bath", "Ada saw Rome"} < texts


def test_entity_resampling_repeats_by_the_rarest_type(given: Candidate) -> None:
    start = tagged(given, ("nothing here", (0, 0)), *[("in Rome", (0, 3))] * 8, ("Ada in Rome", (1, 0, 3)))
    counts = Counter(EntityResampling(most=4).apply(start, effort=1, seed=0).train)
    assert [counts[example] for example in (start.train[0], start.train[1], start.train[-1])] == [1, 16, 4]


def test_negative_questions_go_to_contexts_that_do_not_hold_the_answer(given: Candidate) -> None:
    contexts = ("Ada lived in London.", "Turing lived in London, too.", "Gauss lived in Göttingen.")
    train = tuple(
        Example("Where did they live?", (Span(place, context.index(place)),), context)
        for context, place in zip(contexts, ("London", "London", "Göttingen"), strict=True)
    )
    result = NegativeQuestions(share=0.5).apply(replace(given, train=train * 10), effort=1, seed=0)
    made = result.train[30:]
    assert len(made) == 15
    assert all(example.label == () for example in made)
    assert {example.text_pair for example in made} == set(contexts)
    alike = NegativeQuestions(share=0.5).apply(replace(given, train=train[:2] * 10), effort=1, seed=0)
    assert len(alike.train) == 20  # Both contexts hold the answer.


def test_synonyms_are_neighbours_in_the_embedding_table(given: Candidate) -> None:
    model: Any = given.copy_model()
    table = model.get_input_embeddings().weight.data
    tokenizer: Any = given.tokenizer
    chelsea, coach = tokenizer.convert_tokens_to_ids(["chelsea", "coach"])
    table[coach] = table[chelsea] * 2
    near = replace(given, model=model, train=(Example("chelsea won unknown", 1),) * 20)
    result = SynonymReplacement(closeness=0.7, share=0.2).apply(near, effort=1, seed=0)
    assert {example.text for example in result.train[20:]} == {"coach won unknown"}
    assert {example.label for example in result.train} == {1}


def test_back_translation_adds_what_both_models_make_of_a_text(given: Candidate) -> None:
    there, back = str(tiny_given.translator()), str(tiny_given.translator(1))
    pair = Example("chelsea won", 1, text_pair="the cup")
    strategy = BackTranslation(there=there, back=back)
    made = strategy.apply(replace(given, train=(*given.train, pair)), effort=1, seed=0).train[len(given.train) + 1 :]
    assert 0 < len(made) <= len(given.train) + 1
    (text,) = translate(back, translate(there, ("the cup",)))
    assert made[-1] == Example(translate(back, translate(there, ("chelsea won",)))[0], 1, text_pair=text)
    by_label = Counter(example.label for example in made)
    assert by_label[0] <= 12
    assert by_label[1] <= 13


@pytest.mark.slow
def test_a_translation_does_not_depend_on_what_else_is_translated() -> None:
    name = str(tiny_given.translator())
    texts = tuple(example.text for example in tiny.examples(20))
    assert translate(name, texts) == tuple(translate(name, (text,))[0] for text in texts)


def test_a_model_that_cannot_translate_says_so(given: Candidate, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"cannot open the translation model '{tmp_path}'"):
        BackTranslation(there=str(tmp_path), back=str(tmp_path)).apply(given, effort=1, seed=0)


def test_smoothed_cross_entropy_is_that_of_torch(given: Candidate) -> None:
    batch = batch_of(given)
    output = given.model(**batch)
    criterion = LabelSmoothing(share=0.1).apply(given, effort=0, seed=0).criterion
    expected = F.cross_entropy(output.logits, batch["labels"], label_smoothing=0.1)
    torch.testing.assert_close(criterion(output, batch), expected)


# 10,000 texts

ODD = "aZ9 éß 漢字 👩‍🚀 \u0301\u200d\u00a0\ufeff – ’ ا ﷺ 𝔘 İ ﬁ"


def odd_word(chance: random.Random) -> str:
    """Letters of many scripts, marks without a letter, emoji of several code points; never a plain space."""
    return "".join(
        chance.choices([piece for piece in ODD.split(" ") if piece] + list("abc,.()"), k=chance.randint(1, 5))
    )


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [MentionReplacement(share=1.0), EntityResampling()], ids=lambda s: s.name)
def test_tags_stay_with_their_words_in_10_000_texts(given: Candidate, strategy: Strategy) -> None:
    chance = random.Random(0)
    rows = []
    for _ in range(10_000):
        words: list[str] = []
        tags: list[int] = []
        for _ in range(chance.randint(1, 6)):
            kind = chance.choice(["", "", "person", "place"])
            parts = [odd_word(chance) for _ in range(chance.randint(1, 3) if kind else 1)]
            words += parts
            tags += [TAGS.index(f"{'I' if place else 'B'}-{kind}") if kind else 0 for place in range(len(parts))]
        rows.append((" ".join(words), tuple(tags)))
    start = tagged(given, *rows)
    pairs = {pair for text, tags in rows for pair in zip(text.split(" "), tags, strict=True)}
    known = {
        mention for found in mentions(start, start.train) for mention in [(m.type, " ".join(m.words)) for m in found]
    }
    made = strategy.apply(start, effort=1, seed=0).train[len(rows) :]
    assert len(made) > 5_000
    for example in made:
        assert isinstance(example.label, tuple)
        assert set(zip(example.text.split(" "), example.label, strict=True)) <= pairs
    assert {(m.type, " ".join(m.words)) for found in mentions(start, made) for m in found} <= known


@pytest.mark.slow
def test_answers_stay_where_they_are_in_10_000_contexts(given: Candidate) -> None:
    chance = random.Random(0)
    train = []
    for number in range(10_000):
        words = [odd_word(chance) for _ in range(chance.randint(3, 12))]
        context = " ".join(words)
        place = chance.randrange(len(words))
        start = len(" ".join(words[:place])) + (place > 0)
        label = () if chance.random() < 0.2 else (Span(words[place], start),)
        train.append(Example(f"Where is {odd_word(chance)} {number}?", label, context))
    result = NegativeQuestions(share=1.0).apply(replace(given, train=tuple(train)), effort=1, seed=0)
    assert len(result.train) > 15_000
    for example in result.train:
        for span in example.label:  # type: ignore[union-attr]
            assert isinstance(span, Span)
            assert (example.text_pair or "")[span.start : span.start + len(span.text)] == span.text
    answers = {example.text: example.label[0].text for example in train if example.label}  # type: ignore[index, union-attr]
    for example in result.train[10_000:]:
        assert example.label == ()
        assert answers.get(example.text, "\0") not in (example.text_pair or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [RandomEdits(), SynonymReplacement(), CharacterNoise(), CharacterNoise(errors="scanner"), Oversampling()],
    ids=repr,
)
def test_labels_stay_with_10_000_texts(given: Candidate, strategy: Strategy) -> None:
    chance = random.Random(0)
    texts = [
        " ".join(odd_word(chance) for _ in range(chance.randint(1, 9))) + f" n{number}" for number in range(10_000)
    ]
    train = tuple(Example(text, chance.choice([0, 0, 0, 1])) for text in texts)
    result = strategy.apply(replace(given, train=train), effort=1, seed=0)
    made = result.train[len(train) :]
    assert result.train[: len(train)] == train
    assert len(made) >= (4_000 if isinstance(strategy, Oversampling) else 10_000)
    if isinstance(strategy, Oversampling):
        assert set(made) <= set(train)
    else:
        assert [example.label for example in made] == [example.label for example in train] * (len(made) // len(train))
        assert all(example.text.strip() for example in made)
