import pytest

from pila.labels.evaluate import compare, evaluate
from pila.labels.keywords import OfflineParser
from pila.labels.lexicon import load_lexicon, stem
from pila.labels.prompt_set import assign_halves, load_prompts
from pila.physics.bank import Category

RIGID, ELASTIC, FLUID, GAS, PHASE, COLLISION, THERMAL, OPTICAL = Category


def answer(prompt: str) -> set[Category]:
    return set(OfflineParser()(prompt).categories)


def test_held_out_prompts() -> None:
    report = evaluate(OfflineParser(), "held_out")
    assert report.prompts == 100
    assert report.micro.f1 >= 0.80
    assert all(agreement.f1 >= 0.70 for agreement in report.categories.values())


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a heavy red ball is thrown fast to the right", {RIGID}),
        ("a small light blue ball is tossed high to the left", {RIGID}),
        ("a large blue ball hits a small red ball head-on", {RIGID, COLLISION}),
        ("from the left a big ball runs slowly into a small green ball", {RIGID, COLLISION}),
        ("a hot spot spreads over a copper plate", {THERMAL}),
        ("a spinning bar turns at a constant rate", {RIGID}),
        ("a mass on a spring oscillates up and down", {ELASTIC}),
        ("water sloshes in a tank", {FLUID}),
        ("a puff of smoke rises", {GAS}),
        ("a disc of ice melts in warm water", {PHASE, THERMAL}),
        ("a bouncing ball", {RIGID, COLLISION}),
        ("ripples from two sources interfere", {OPTICAL}),
        ("a wave is refracted at a border", {OPTICAL}),
        ("boiling water", {PHASE, FLUID, THERMAL}),
    ],
)
def test_captions_of_the_simulated_world(caption: str, expected: set[Category]) -> None:
    assert answer(caption) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "her heart melts as she reads",
        "an explosion of flavours on a plate",
        "a heated argument in the office",
        "prices fall on the stock market",
        "a lemon on a table",
        "no water is spilled",
    ],
)
def test_figures_of_speech_and_negations_are_no_mechanism(prompt: str) -> None:
    assert answer(prompt) == set()


def test_the_same_words_in_earnest() -> None:
    assert PHASE in answer("butter melts in a pan")
    assert answer("an explosion tears the bridge apart") >= {GAS, THERMAL}
    assert RIGID in answer("apples fall from the tree")
    assert FLUID in answer("water is spilled on the floor")


def test_a_mechanism_needs_its_thing() -> None:
    assert FLUID in answer("water flows over the edge")
    assert GAS in answer("smoke flows over the edge")
    assert FLUID not in answer("smoke flows over the edge")
    assert RIGID not in answer("the temperature falls")


def test_evidence_is_found_in_the_prompt_and_explains_each_category() -> None:
    prompt = "A red rubber ball bounces on concrete; steam rises from hot soup."
    parse = OfflineParser()(prompt)
    assert parse.categories
    for category in parse.categories:
        assert parse.evidence[category]
        assert all(words in prompt.lower() for words in parse.evidence[category])


def test_refined_prompt_drops_style_and_names_the_mechanism() -> None:
    refined = OfflineParser()("A stone falls, cinematic, 4k, slow motion.").refined_prompt
    assert refined.startswith("A stone falls. Physics: ")
    assert "cinematic" not in refined
    assert OfflineParser()("cinematic, 4k").refined_prompt == "cinematic, 4k."


def test_repetition_earns_nothing() -> None:
    assert answer("water. " * 500) == answer("water.")


@pytest.mark.parametrize(
    ("forms", "root"),
    [
        (("falls", "falling", "fell", "fallen"), "fall"),
        (("bounce", "bounces", "bounced", "bouncing"), "bounc"),
        (("spin", "spins", "spinning", "spun"), "spin"),
        (("carries", "carried", "carrying"), "carry"),
        (("splashes", "splashing", "splash"), "splash"),
        (("glass", "glasses"), "glass"),
        (("spring", "springs", "sprung"), "spring"),
    ],
)
def test_stems(forms: tuple[str, ...], root: str) -> None:
    irregular = load_lexicon().irregular
    assert {stem(form, irregular) for form in forms} == {root}


def test_prompt_set() -> None:
    prompts = load_prompts()
    assert len({item.prompt for item in prompts}) == 200
    assert all(len(set(item.categories)) == len(item.categories) <= 3 for item in prompts)
    for half in ("development", "held_out"):
        chosen = load_prompts(half)
        assert len(chosen) == 100
        for category in Category:
            assert sum(category in item.categories for item in chosen) >= 10
    halves = assign_halves([(item.prompt, item.categories) for item in prompts])
    assert halves == [item.half for item in prompts]


def test_halves_do_not_depend_on_order() -> None:
    items = [(item.prompt, item.categories) for item in load_prompts()]
    there = dict(zip((p for p, _ in items), assign_halves(items), strict=True))
    back = dict(zip((p for p, _ in items[::-1]), assign_halves(items[::-1]), strict=True))
    assert there == back


def test_agreement_counts() -> None:
    report = compare([((FLUID,), (FLUID, GAS)), ((FLUID, GAS), ()), ((), ())])
    assert (report.micro.true_positives, report.micro.false_positives) == (1, 1)
    assert report.micro.false_negatives == 2
    assert report.micro.f1 == pytest.approx(0.4)
    assert report.exact == 1
    assert report.categories[FLUID].f1 == pytest.approx(2 / 3)
    assert report.categories[OPTICAL].f1 == 1.0
