"""How often each category of the embedded data is shown: a long tail in LVIS's proportions, or of a given slope."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from gumbel.datasets.lvis_v1 import published
from gumbel.datasets.mini.pictures import Thing

#: Objects per scene, and the mean number of distinct categories in one.
OBJECTS = (3, 7)
CATEGORIES_PER_IMAGE = 5.0
#: Training images of the first and the last category of each group. Inside LVIS's thresholds (10 and 100).
TAILS = {"r": (10, 3), "c": (60, 12), "f": (205, 106)}
#: Images of each category in a validation split, where they suffice: fewer would make AP a lottery.
MIN_VAL_IMAGES = 5


def group_sizes(categories: int) -> dict[str, int]:
    """Split a number of categories into rare, common and frequent as LVIS v1 does (337 : 461 : 405).

    >>> group_sizes(45)
    {'r': 13, 'c': 17, 'f': 15}
    """
    groups = Counter(row["frequency"] for row in published().categories)
    quotas = {group: categories * groups[group] / groups.total() for group in "rcf"}
    sizes = {group: int(quota) for group, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda group: sizes[group] - quotas[group])
    for group in by_remainder[: categories - sum(sizes.values())]:
        sizes[group] += 1
    return sizes


def choose(available: Sequence[Thing], categories: int, rng: np.random.Generator) -> list[Thing]:
    """Choose categories of each LVIS frequency group, most often seen in LVIS first."""
    chosen: list[Thing] = []
    for group, size in group_sizes(categories).items():
        members = [thing for thing in available if thing.frequency == group]
        if size > len(members):
            raise ValueError(
                f"expected at most {len(members)} categories of group {group!r}, the number with a picture; "
                f"found {size}; lower mini.categories"
            )
        chosen += [members[i] for i in rng.choice(len(members), size, replace=False)]
    return _most_often_first(chosen)


def choose_any(available: Sequence[Thing], categories: int, rng: np.random.Generator) -> list[Thing]:
    """Choose categories of any group, most often seen in LVIS first. A smaller choice is part of a larger one."""
    if categories > len(available):
        raise ValueError(
            f"expected at most {len(available)} categories, the number with a picture; found {categories}; "
            "lower mini.categories"
        )
    return _most_often_first([available[i] for i in rng.permutation(len(available))[:categories]])


def _most_often_first(chosen: Sequence[Thing]) -> list[Thing]:
    return sorted(chosen, key=lambda thing: ("fcr".index(thing.frequency), -thing.images, thing.id))


def train_counts(chosen: Sequence[Thing], images: int) -> list[int]:
    """Return the training images of each category, ordered as :func:`choose` orders them: a geometric tail per group.

    Spare room goes to the frequent categories. Where room is short all shrink alike, so with too few images
    per category the groups change.
    """
    groups = Counter(thing.frequency for thing in chosen)
    counts = {group: np.geomspace(*TAILS[group], n) for group, n in groups.items()}
    room = CATEGORIES_PER_IMAGE * images
    wanted = sum(tail.sum() for tail in counts.values())
    if wanted > room:
        counts = {group: tail * room / wanted for group, tail in counts.items()}
    elif "f" in counts:
        counts["f"] = counts["f"] * (1 + (room - wanted) / counts["f"].sum())
    order = np.concatenate([counts[group] for group in "fcr" if group in counts])
    return _whole(order, images)


def imbalanced_counts(categories: int, images: int, imbalance: float) -> list[int]:
    """Return the training images of each category: geometric from the most frequent to the rarest, ``imbalance`` apart.

    The counts sum to :data:`CATEGORIES_PER_IMAGE` times ``images`` whatever the imbalance.
    """
    weights = np.geomspace(1, 1 / imbalance, categories)
    total = round(CATEGORIES_PER_IMAGE * images)
    counts = weights * total / weights.sum()
    if counts[0] > images or round(counts[-1], 9) < 1:
        raise ValueError(
            f"expected 1 to {images} images of every category, found {counts[0]:.1f} of the most frequent and "
            f"{counts[-1]:.2f} of the rarest; lower mini.imbalance, or change mini.train_images or mini.categories"
        )
    whole = np.floor(counts)
    whole[np.argsort(whole - counts, kind="stable")[: total - int(whole.sum())]] += 1  # largest remainders
    return whole.astype(int).tolist()


def val_counts(train: Sequence[int], images: int) -> list[int]:
    """Return the validation images of each category: flatter than the training tail, so that AP can be measured."""
    room = CATEGORIES_PER_IMAGE * images
    floor = min(MIN_VAL_IMAGES, room // len(train))
    weights = np.sqrt(train)
    return _whole(np.maximum(weights * room / weights.sum(), floor), images)


def balanced_counts(categories: int, images: int) -> list[int]:
    """Return the same number of images for every category."""
    return _whole(np.full(categories, CATEGORIES_PER_IMAGE * images / max(1, categories)), images)


def assign(counts: Sequence[int], images: int, rng: np.random.Generator) -> list[list[int]]:
    """Distribute categories over images: for each image the indices of its distinct categories.

    Category ``i`` appears in exactly ``counts[i]`` images. Going from the most to the least frequent, each
    takes the images with most room left, ties broken at random (Gale and Ryser's construction).
    """
    room = _rooms(sum(counts), images, min(OBJECTS[1], len(counts)), rng)
    scenes: list[list[int]] = [[] for _ in range(images)]
    for category in sorted(range(len(counts)), key=lambda i: -counts[i]):
        order = np.argsort(-room - rng.random(images))
        for index in order[: counts[category]]:
            scenes[index].append(category)
            room[index] -= 1
    return scenes


def _rooms(total: int, images: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw how many categories each image holds, so that they sum to ``total``."""
    if total > most * images:
        raise ValueError(
            f"expected room for {total} categories in the images, found {most} places in each of {images} images; "
            "raise the number of images or lower the number of categories in the mini section"
        )
    least = min(OBJECTS[0], most, total // max(images, 1))
    room = rng.integers(min(OBJECTS[0], most), most + 1, images)
    while (missing := total - room.sum()) != 0:
        step = np.sign(missing)
        movable = np.flatnonzero(room < most if step > 0 else room > least)
        room[rng.choice(movable, min(abs(missing), len(movable)), replace=False)] += step
    return room.astype(np.float64)


def _whole(counts: np.ndarray, images: int) -> list[int]:
    return np.clip(counts.round(), 1, images).astype(int).tolist()
