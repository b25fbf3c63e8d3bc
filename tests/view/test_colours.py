"""The palette: told apart by everybody, on light and on dark."""

import itertools
import math

from taskcore.core import lifecycle
from taskcore.view.colours import COLOURS, PAGE, SIGNS

# Machado, Oliveira and Fernandes 2009, severity 1.
SIGHTS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour):
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]


def dot(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def seen(colour, sight):
    """In OKLab."""
    red, green, blue = (min(1.0, max(0.0, dot(row, linear(colour)))) for row in SIGHTS[sight])
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def contrast(one, other):
    dark, light = sorted(dot((0.2126, 0.7152, 0.0722), linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_every_phase_has_a_colour_and_a_sign_of_its_own():
    assert set(COLOURS) == set(SIGNS) == set(lifecycle.PHASES)
    assert len(set(SIGNS.values())) == len(SIGNS) and all(len(sign) == 1 for sign in SIGNS.values())


def test_no_two_phases_look_alike_to_the_colour_blind():
    for which, sight in itertools.product((0, 1), SIGHTS):
        for one, other in itertools.combinations(COLOURS, 2):
            apart = math.dist(seen(COLOURS[one][which], sight), seen(COLOURS[other][which], sight))
            assert apart >= 0.1, (one, other, sight, which, apart)


def test_colours_and_texts_stand_out_from_the_page_light_and_dark():
    for which in (0, 1):
        for phase, pair in COLOURS.items():
            assert contrast(pair[which], PAGE["paper"][which]) >= 3, (phase, which)
        for tone, ground in itertools.product(("ink", "faint", "accent"), ("paper", "panel")):
            assert contrast(PAGE[tone][which], PAGE[ground][which]) >= 4.5, (tone, ground, which)
