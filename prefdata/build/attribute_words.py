"""The word lists by which attributes of a caption are swapped: colours, numbers, positions, objects; two languages.

VERSION is written beside every row that is made by them, and raised whenever a list or a rule changes what is swapped.
A word stands here only if what it is swapped for is false wherever the word itself was true: near colours, shapes of
which one is the other, and an animal and its kind are kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

VERSION = 3

Kind = Literal["colour", "number", "position", "object"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# -------------------------------------------------------------------------------------------------------------- English

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white", "pink", "brown", "grey")

NEAR_COLOURS: Mapping[str, frozenset[str]] = {
    "red": frozenset({"orange", "pink", "brown"}),
    "orange": frozenset({"red", "yellow", "brown"}),
    "yellow": frozenset({"orange"}),
    "blue": frozenset({"purple"}),
    "purple": frozenset({"blue", "pink"}),
    "pink": frozenset({"red", "purple"}),
    "brown": frozenset({"red", "orange", "black"}),
    "black": frozenset({"grey", "brown"}),
    "white": frozenset({"grey"}),
    "grey": frozenset({"black", "white"}),
}
"""What one of them may be called that another would call so."""

NO_COLOUR_BEFORE = _words(
    "wine tape herring bread noise tea card market hole friday belt eye pages juice tree peel bear rice sugar cheese "
    "floyd whale house bull hat sea sox panther pepper onion light lights meat collar"
)
"""Words before which a colour is part of a name rather than what is seen."""

NUMBERS: Mapping[str, int] = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip

NO_COUNT = _words(
    "years hours minutes seconds days weeks months times metres meters miles kilometres kilometers inches feet pounds "
    "dollars euros percent degrees hundreds thousands millions dozens grams litres liters pages pieces others tens "
    "parts kinds types sorts pairs stories storeys levels sides"
)
"""Plurals that are measured or said rather than seen."""

NUMERALS = _words("one hundred thousand million half dozen twenty thirty forty fifty sixty seventy eighty ninety")

NAMES_A_NUMBER = _words(
    "page number no figure version level route room channel or to # no. between least most than over about almost "
    "nearly around approximately roughly"
)
"""Words after which a number is a name or a bound."""

COUNTS_ON = _words("of or to hundred thousand million dozen and percent % : / - am pm o'clock years x")
"""Words before which a number counts nothing by itself."""

IRREGULAR_PLURALS = _words("people men women children mice geese teeth knives")

OPPOSITES: Mapping[str, str] = {
    "left": "right",
    "right": "left",
    "leftmost": "rightmost",
    "rightmost": "leftmost",
    "top": "bottom",
    "bottom": "top",
    "upper": "lower",
    "lower": "upper",
    "above": "below",
    "below": "above",
    "beneath": "above",
    "underneath": "above",
    "under": "above",
    "behind": "in front of",
    "inside": "outside",
    "foreground": "background",
    "background": "foreground",
}

PARTS = _words("side half corner edge third part margin border")
"""What of a picture is left, right, upper or lower."""

IDIOMS = _words(
    "weather age ages impression influence circumstances name law scenes times average water sea sun sky moon stars "
    "construction attack pressure control arrest"
)
"""After "under the", "behind the": what is not a place beside another thing."""

OBJECTS: Mapping[str, Mapping[str, str]] = {
    "shape": {
        "circle": "circles", "square": "squares", "triangle": "triangles", "star": "stars", "cross": "crosses",
        "ring": "rings", "rectangle": "rectangles", "hexagon": "hexagons", "heart": "hearts", "oval": "ovals",
    },
    "animal": {
        "dog": "dogs", "cat": "cats", "horse": "horses", "cow": "cows", "bird": "birds", "elephant": "elephants",
        "giraffe": "giraffes", "zebra": "zebras", "rabbit": "rabbits", "monkey": "monkeys",
    },
    "vehicle": {
        "car": "cars", "bus": "buses", "truck": "trucks", "motorcycle": "motorcycles", "bicycle": "bicycles",
        "boat": "boats", "airplane": "airplanes", "helicopter": "helicopters",
    },
    "furniture": {"chair": "chairs", "table": "tables", "sofa": "sofas", "bookshelf": "bookshelves"},
    "fruit": {
        "apple": "apples", "banana": "bananas", "pear": "pears", "lemon": "lemons", "strawberry": "strawberries",
        "pineapple": "pineapples",
    },
    "adult": {"man": "men", "woman": "women"},
    "child": {"boy": "boys", "girl": "girls"},
    "tableware": {"cup": "cups", "fork": "forks", "spoon": "spoons", "plate": "plates", "bottle": "bottles"},
    "device": {"laptop": "laptops", "television": "televisions", "camera": "cameras", "telephone": "telephones"},
    "clothes": {"shirt": "shirts", "hat": "hats", "scarf": "scarves", "jacket": "jackets"},
}  # fmt: skip
"""Class -> singular -> plural. A word is swapped for another of its class, in the same number."""

SAME_OBJECTS: Mapping[str, frozenset[str]] = {
    "square": frozenset({"rectangle"}),
    "rectangle": frozenset({"square"}),
    "circle": frozenset({"oval", "ring"}),
    "ring": frozenset({"circle", "oval"}),
    "oval": frozenset({"circle", "ring"}),
    "chair": frozenset({"sofa"}),
    "sofa": frozenset({"chair"}),
    "shirt": frozenset({"jacket"}),
    "jacket": frozenset({"shirt"}),
}
"""Words of one class of which one may be true where the other is."""

GENDERED = _words("he she his her him hers himself herself")
"""Beside one of these "man" and "woman", "boy" and "girl" stay."""

DETERMINERS = _words(
    "a an the this that these those one two three four five six seven eight nine ten another some several many its his "
    "her their my our your each every no"
)

ADJECTIVES = _words(
    "small big large little tiny huge old young new tall short long wide thin round bright dark light pale wooden "
    "plastic metal glass striped spotted single empty full open closed solid"
)

LINKING = _words(
    "on in at with and or next near to left right above below under beneath behind beside between over against inside "
    "outside by from into onto along across around through but while as for is are was were has have can that which "
    "who there here sitting standing running lying walking playing eating sleeping jumping looking flying wearing "
    "holding parked stands sits lies"
)
"""Words after which a noun or a colour has ended: no compound goes on here."""

PLACING = _words("on in at with next near to above below under beneath behind beside between over inside by")

COPULAS = _words("is are was were")

BARE_PLURALS_AFTER = _words("of shows show with see and are were contains")
"""Words after which a plural without article or adjective is a noun."""

# -------------------------------------------------------------------------------------------------------------- Chinese

COLOURS_ZH = ("红", "绿", "蓝", "黄", "紫", "橙", "黑", "白", "粉", "棕", "灰")

NEAR_COLOURS_ZH: Mapping[str, frozenset[str]] = {
    zh: frozenset(COLOURS_ZH[COLOURS.index(near)] for near in NEAR_COLOURS.get(en, ()))
    for en, zh in zip(COLOURS, COLOURS_ZH, strict=True)
}

NO_COLOUR_BEFORE_ZH = "旅游|革命|警报|通缉|地带|收入|幽默|食品|信号|文化"
"""After these a colour word with 色 is no colour that is seen."""

NUMBERS_ZH: Mapping[str, int] = {
    "一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9,
}  # fmt: skip

TARGETS_ZH = ("两", "三", "四", "五", "六")

MEASURES_ZH = "个|只|条|张|辆|匹|头|把|本|朵|颗|座|架|艘|株|幅|块|位"

OPPOSITES_ZH: Mapping[str, str] = {
    "左": "右",
    "右": "左",
    "上": "下",
    "下": "上",
    "前": "后",
    "后": "前",
    "里": "外",
    "外": "里",
}

OBJECTS_ZH: Mapping[str, tuple[str, ...]] = {
    "shape": ("圆形", "正方形", "三角形", "五角星", "十字形", "圆环", "六边形"),
    "shape_short": ("圆", "方块", "三角"),
    "animal": ("猫", "兔子", "鸟", "老虎", "猴子", "羊", "鸡"),
    "vehicle": ("汽车", "自行车", "卡车", "公交车", "摩托车"),
    "furniture": ("桌子", "床", "沙发"),
    "fruit": ("苹果", "香蕉", "梨", "柠檬", "菠萝"),
    "adult": ("男人", "女人"),
    "child": ("男孩", "女孩"),
}
"""Class -> words that go with one measure word; a word is swapped for another of its class."""

SAME_OBJECTS_ZH: Mapping[str, frozenset[str]] = {
    "圆形": frozenset({"圆环"}),
    "圆环": frozenset({"圆形"}),
}

GENDERED_ZH = ("他", "她")
