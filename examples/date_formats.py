"""Dates as people write them, and the same dates in ISO 8601: a task to translate.

Sources are made from a calendar, so there are as many as one likes and all are right.
Both libraries' scripts read the same ones.
"""

import datetime
import random

import tensorlib as tl

__all__ = ["BEGIN", "LETTERS", "PAD", "decode", "pairs", "split_pairs", "tensors"]

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August",
    "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PAD, BEGIN = 0, 1
LETTERS = "\0\1 ',-./0123456789abcdefghijklmnopqrstuvwxyz"
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)


def ordinal(day):
    """Return 1st, 2nd, 3rd, 4th ..."""
    ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


def written(date, choice):
    """Return a date in one of many formats; months by number stand after days."""
    year, day = choice.choice((date.year, f"'{date.year % 100:02}")), date.day
    month = MONTHS[date.month - 1]
    month = choice.choice((month, month[:3], month[:3] + "."))
    weekday = DAYS[date.weekday()]
    weekday = choice.choice((weekday, weekday[:3]))
    form = choice.randrange(9)
    return (
        f"{day} {month} {date.year}",
        f"{month} {day}, {year}",
        f"{weekday}, {day} {month} {date.year}",
        f"{ordinal(day)} of {month}, {date.year}",
        f"{month} {ordinal(day)} {year}",
        f"{day}.{date.month}.{date.year}",
        f"{day:02}/{date.month:02}/{date.year % 100:02}",
        f"{date.year} {month} {day:02}",
        f"{weekday} {day:02}-{month[:3]}-{date.year}",
    )[form].lower()


def pairs(count, seed):
    """Return `count` pairs ``(source, target)`` of dates drawn with replacement."""
    choice, days = random.Random(seed), (LAST - FIRST).days + 1
    found = []
    for _ in range(count):
        date = FIRST + datetime.timedelta(choice.randrange(days))
        found.append((written(date, choice), date.isoformat()))
    return found


def split_pairs(count, seed):
    """Return pairs to train and to test on; no date is in both.

    The dates whose number leaves 0 when divided by 10 are held out.
    """
    found = pairs(count, seed)
    held = [
        pair
        for pair in found
        if datetime.date.fromisoformat(pair[1]).toordinal() % 10 == 0
    ]
    kept = set(held)
    return [pair for pair in found if pair not in kept], held


def encode(text, length):
    """Return the numbers of a text's letters, filled up with `PAD`."""
    return [LETTERS.index(letter) for letter in text] + [PAD] * (length - len(text))


def tensors(found):
    """Return sources ``(S, N)`` and targets ``(11, N)``, which start with `BEGIN`."""
    longest = max(len(source) for source, _ in found)
    sources = [encode(source, longest) for source, _ in found]
    targets = [[BEGIN, *encode(target, 10)] for _, target in found]
    return tl.tensor(sources).T.contiguous(), tl.tensor(targets).T.contiguous()


def decode(numbers):
    """Return the text of a list of numbers."""
    return "".join(LETTERS[number] for number in numbers)
