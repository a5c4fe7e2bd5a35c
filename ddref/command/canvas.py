"""What pictures of points are drawn on: colours of values, text, a legend."""

from typing import Any, NamedTuple

import numpy as np

LINE, SIZE = 17, 13  # pixels: a line of text, its letters
FONTS = (  # the first that has all letters
    None,  # Pillow's own, Latin
    "DejaVuSans.ttf",
    "arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "msgothic.ttc",
    "PingFang.ttc",
)
STOPS = np.array(  # blue, white at 0, red
    [(5, 48, 97), (67, 147, 195), (255, 255, 255), (214, 96, 77), (103, 0, 31)]
)
NO_LETTER = chr(0x10FFFF)


class Shades(NamedTuple):
    """How values become colours: grey from `low` to `high`, or blue and red."""

    low: float
    high: float
    signed: bool = False  # blue below 0, red above

    def rgb(self, values: np.ndarray, coloured: bool = False) -> np.ndarray:
        """Colours (..., 3) of uint8 of values (...); of `coloured` ones, (..., 3), each
        is red, green or blue.

        Examples
        --------
        >>> Shades(0.0, 1.0).rgb(np.array([[0.0, 1.0]])).tolist()
        [[[0, 0, 0], [255, 255, 255]]]
        >>> Shades(-1.0, 1.0, True).rgb(np.array([[-1.0, 0.0]])).tolist()
        [[[5, 48, 97], [255, 255, 255]]]
        """
        size = max(abs(self.low), abs(self.high)) or 1.0  # no difference overflows
        spread = (self.high / size - self.low / size) or 1.0
        shares = (values / size - self.low / size) / spread
        if self.signed and not coloured:
            return _blue_to_red()[np.rint(256 * shares).astype(np.intp)]
        grey = np.rint(255 * shares).clip(0, 255).astype(np.uint8)
        return grey if coloured else np.repeat(grey[..., None], 3, axis=-1)


def _blue_to_red() -> np.ndarray:
    """Colours (257, 3) of which the middle one is white."""
    at = np.linspace(0, len(STOPS) - 1, 257)
    parts = [np.interp(at, range(len(STOPS)), STOPS[:, c]) for c in range(3)]
    return np.rint(np.stack(parts, axis=1)).astype(np.uint8)


def both_signs(values: np.ndarray) -> Shades:
    """Colours in which 0 is white."""
    most = max(-float(values.min()), float(values.max())) or 1.0
    return Shades(-most, most, True)


class Canvas:
    """Pictures and lines of text at their places, drawn once all are known."""

    def __init__(self, texts: list[str]) -> None:
        self.font = _font(texts)
        self.missing = _missing(self.font, "".join(texts))
        self.pictures: list[tuple[np.ndarray, int, int]] = []
        self.texts: list[tuple[str, int, int, str]] = []
        self.right = self.bottom = 0

    def width(self, text: str) -> int:
        """Pixels that a line of text takes."""
        return int(self.font.getlength(self._with_codes(text))) + 1

    def put(self, rgb: np.ndarray, x: int, y: int) -> None:
        """A picture (h, w, 3) with its left upper corner at x, y."""
        self.pictures.append((rgb, x, y))
        self._reach(x + rgb.shape[1], y + rgb.shape[0])

    def write(
        self, text: str, x: int, y: int, most: int | None = None, colour: str = "black"
    ) -> None:
        """A line of text, cut where it is wider than `most`; letters that no font has
        are written as their codes.
        """
        text = self._with_codes(text)
        if most is not None and self.width(text) > most:
            while len(text) > 1 and self.width(f"{text}..") > most:
                text = text[:-1]
            text = f"{text}.."
        self.texts.append((text, x, y, colour))
        self._reach(x + self.width(text), y + LINE)

    def write_upright(self, text: str, x: int, y: int) -> None:
        """A line of text from below to above; x, y is its left upper corner."""
        from PIL import Image, ImageDraw

        text = self._with_codes(text)
        line = Image.new("RGB", (self.width(text), LINE), "white")
        ImageDraw.Draw(line).text((0, 0), text, fill="black", font=self.font)
        self.put(np.rot90(np.array(line)), x, y)

    def legend(self, shades: Shades, x: int, y: int) -> None:
        """A bar of all colours with the values at its ends, and 0 where that is one."""
        bar = np.linspace(
            shades.low / 2, shades.high / 2, 160
        )  # halves cannot overflow
        halves = shades._replace(low=shades.low / 2, high=shades.high / 2)
        self.write(low := f"{shades.low:.4g}", x, y)
        x += self.width(low) + 4
        self.put(np.repeat(halves.rgb(bar[None, :]), 10, axis=0), x, y + 3)
        zero = "   (white is 0)" if shades.signed else ""
        self.write(f"{shades.high:.4g}{zero}", x + 164, y)

    def drawn(self, margin: int) -> np.ndarray:
        """All of it, as bytes (height, width, 3)."""
        from PIL import Image, ImageDraw

        size = (self.bottom + margin, self.right + margin, 3)
        page = np.full(size, 255, dtype=np.uint8)
        for rgb, x, y in self.pictures:
            page[y : y + rgb.shape[0], x : x + rgb.shape[1]] = rgb
        image = Image.fromarray(page)
        draw = ImageDraw.Draw(image)
        for text, x, y, colour in self.texts:
            draw.text((x, y), text, fill=colour, font=self.font)
        return np.array(image)

    def _with_codes(self, text: str) -> str:
        for letter in self.missing:
            text = text.replace(letter, ascii(letter)[1:-1])
        return text

    def _reach(self, right: int, bottom: int) -> None:
        self.right, self.bottom = max(self.right, right), max(self.bottom, bottom)


def _font(texts: list[str]) -> Any:
    """The font that has most of the letters, the first of equals."""
    from PIL import ImageFont

    letters, found = "".join(sorted(set("".join(texts)))), []
    for name in FONTS:
        try:
            if name is None:
                font = ImageFont.load_default(SIZE)
            else:
                font = ImageFont.truetype(name, SIZE)
        except OSError:
            continue
        found.append((len(_missing(font, letters)), len(found), font))
        if not found[-1][0]:
            break
    return min(found)[2]


def _missing(font: Any, letters: str) -> set[str]:
    """Letters that a font draws as it draws what is none."""
    none = bytes(font.getmask(NO_LETTER))
    return {letter for letter in letters if bytes(font.getmask(letter)) == none}
