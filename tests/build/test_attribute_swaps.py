"""Where an attribute of a caption is certain, what it is changed to, and what is left alone."""

from __future__ import annotations

import pytest

from prefdata.build import attribute_words as words
from prefdata.build.attribute_swaps import KINDS, applied, changes, stated
from prefdata.build.attribute_words import Kind

CERTAIN: dict[tuple[str, Kind], list[str]] = {
    ("three red circles on the left", "colour"): ["three green circles on the left"],
    ("The shapes are red.", "colour"): ["The shapes are green."],
    ("An orange triangle", "colour"): ["A green triangle"],
    ("a grey cat", "colour"): ["a red cat"],
    ("Gray clouds over a hill", "colour"): ["Red clouds over a hill"],
    ("a blue umbrella", "colour"): ["a red umbrella"],
    ("three red circles", "number"): ["two red circles", "one red circle"],
    ("There are two blue squares", "number"): ["There are three blue squares", "There is one blue square"],
    ("the shapes are four stars", "number"): ["the shapes are two stars"],
    ("Two dogs and 3 cats", "number"): ["Three dogs and 3 cats", "Two dogs and 2 cats"],
    ("one black cross at the top", "number"): ["two black crosses at the top"],
    ("there is one blue square on the right", "number"): ["there are two blue squares on the right"],
    ("three red circles on the left", "position"): ["three red circles on the right"],
    ("a dog left of a cat", "position"): ["a dog right of a cat"],
    ("At the top there is a star", "position"): ["At the bottom there is a star"],
    ("a ball in the upper left corner", "position"): [
        "a ball in the lower left corner",
        "a ball in the upper right corner",
    ],
    ("a cat under a table", "position"): ["a cat above a table"],
    ("a cup on top of the book", "position"): ["a cup under the book"],
    ("a woman in front of a red car", "position"): ["a woman behind a red car"],
    ("a man behind the counter", "position"): ["a man in front of the counter"],
    ("a tree in the background", "position"): ["a tree in the foreground"],
    ("an old dog on a chair", "object"): ["an old cat on a chair", "an old dog on a table"],
    ("the shapes are stars", "object"): ["the shapes are circles"],
    ("an apple and two pears", "object"): ["a banana and two pears", "an apple and two apples"],
    ("左边有三个红色圆形", "colour"): ["左边有三个绿色圆形"],
    ("一个红圆", "colour"): ["一个绿圆"],
    ("左边有三个红色圆形", "number"): ["左边有两个红色圆形"],
    ("左边有三个红色圆形", "position"): ["右边有三个红色圆形"],
    ("图片左上角有两辆白色汽车", "position"): ["图片右上角有两辆白色汽车"],
    ("一只猫在桌子上面", "position"): ["一只猫在桌子下面"],
    ("一只黑猫坐在门前", "object"): ["一只黑兔子坐在门前"],
    ("左边有三个红色圆形", "object"): ["左边有三个红色正方形"],
}
"""Text and kind -> every place, each with the first of what it may become."""


@pytest.mark.parametrize(("case", "wanted"), CERTAIN.items(), ids=[f"{kind}: {text}" for text, kind in CERTAIN])
def test_a_certain_word_is_changed_and_the_sentence_stays_whole(case: tuple[str, Kind], wanted: list[str]) -> None:
    text, kind = case
    assert [applied(text, one, one.new[0]) for one in changes(text, kind)] == wanted


UNCERTAIN: list[tuple[str, Kind]] = [
    ("an orange on a plate", "colour"),
    ("a black and white film", "colour"),
    ("a glass of red wine", "colour"),
    ("a volunteer of the Red Cross", "colour"),
    ("a red-haired girl", "colour"),
    ("green with envy", "colour"),
    ("two of them", "number"),
    ("page two of four books", "number"),
    ("after five hours", "number"),
    ("one or two cats", "number"),
    ("two hundred cars", "number"),
    ("no one sees the dog", "number"),
    ("the one on the left", "number"),
    ("at 3:30 pm buses leave", "number"),
    ("the man left the room", "position"),
    ("all right", "position"),
    ("turn right now", "position"),
    ("little is left of the cake", "position"),
    ("a red top", "position"),
    ("under the weather", "position"),
    ("behind the scenes", "position"),
    ("see below", "position"),
    ("a circle left of a circle", "position"),
    ("two red stars are above the two red stars", "position"),
    ("cross the street", "object"),
    ("a dog house", "object"),
    ("a cup of tea", "object"),
    ("a man with his hands up", "object"),
    ("they train dogs for races", "object"),
    ("红色旅游", "colour"),
    ("第一个人", "number"),
    ("大约三十左右", "position"),
    ("一个红圆在一个红圆的左侧", "position"),
    ("以上都对", "position"),
    ("一只熊猫", "object"),
    ("他马上就来", "object"),
]


@pytest.mark.parametrize(("text", "kind"), UNCERTAIN)
def test_a_word_that_may_mean_another_thing_is_left_alone(text: str, kind: Kind) -> None:
    assert changes(text, kind) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text",
    [
        "There are no two red cups on the left.",
        "No, the two red cups are not on the left.",
        "The two red cups on the left aren’t there.",
        "If the two red lights on the left are on, hold the button.",
        "I cannot see the two red dogs on the left in this picture.",
        "The box arrived without the two red cups on the left.",
        "Nobody wears two red hats on the left.",
        "Are there two red cups on the left?",
        "There may be two red cups on the left.",
        "two red cups or plates on the left",
        "左边没有两个红色圆形",
        "左边不是两个红色的圆形。",
        "左边有两个红色圆形吗？",
        "如果左边有两个红色圆形，请按下按钮",
        "左边可能有两个红色圆形",
    ],
)
def test_what_a_sentence_denies_asks_or_supposes_is_never_changed(text: str, kind: Kind) -> None:
    assert changes(text, kind) == []


def test_a_sentence_that_denies_leaves_the_others_as_they_are() -> None:
    text = "There is no dog. The cup is red, it costs 2.5. Is it new?"
    (change,) = changes(text, "colour")
    assert applied(text, change, change.new[0]) == "There is no dog. The cup is green, it costs 2.5. Is it new?"
    assert [one.old for one in changes("这里没有狗。非常大的红色圆形在左边。", "colour")] == ["红"]


@pytest.mark.parametrize("bound", ["more than", "over", "about", "nearly", "at least"])
def test_a_number_that_is_a_bound_is_left_alone(bound: str) -> None:
    assert changes(f"There are {bound} two red cups", "number") == []


@pytest.mark.parametrize("text", ["", " ", "￼", "???", "1", "a", "THE RED CIRCLE", "one", "left", "左", "is one"])
def test_texts_without_a_sentence_have_no_certain_word(text: str) -> None:
    assert [changes(text, kind) for kind in KINDS] == [[], [], [], []]


def test_what_a_text_may_state_is_found_whether_it_is_certain_or_not() -> None:
    assert stated("An orange on a GRAY plate", "colour") == {"orange", "grey"}
    assert stated("four dogs, 2 cats", "number") == {"four", "two"}
    assert stated("one dog", "number") == {"one"}
    assert stated("the cross", "object") == {"cross"}
    assert stated("三个红色圆形", "colour") == {"红"}
    assert stated("left", "position") == set()


def test_nothing_becomes_what_may_be_true_beside_it() -> None:
    for text, kind in CERTAIN:
        for change in changes(text, kind):
            assert len(set(change.new)) == len(change.new) == len(change.means)
            assert not {one.lower() for one in change.new} & {change.old.lower()}
    (square,) = changes("a square", "object")
    assert "rectangle" not in square.means
    (red,) = changes("a red car", "colour")
    assert not {"orange", "pink", "brown"} & set(red.means)


def test_the_lists_are_closed() -> None:
    assert set(words.NEAR_COLOURS) <= set(words.COLOURS)
    assert all(one in words.NEAR_COLOURS[other] for one, near in words.NEAR_COLOURS.items() for other in near)
    assert all(one in words.SAME_OBJECTS[other] for one, same in words.SAME_OBJECTS.items() for other in same)
    assert len(words.COLOURS) == len(words.COLOURS_ZH)
    named = [one for names in words.OBJECTS.values() for pair in names.items() for one in pair]
    assert len(named) == len(set(named))
