"""The built-in prompts: seeded, different for each job, the same on any number of ranks."""

from __future__ import annotations

import hashlib
import random
import struct
from functools import cache

WORDS = """
able acid acre actor adult aged agent alarm album alert alive angle apple april arena army arrow
artist aspect atom autumn award badge baker bank basin basket battle beach beam bean bear belt
bench berry birth blade blanket block bloom board boat bone book border bottle bottom branch
brave bread brick bridge brief bright broad brook brush bucket budget bulb button cabin cable
cake camera camp canal candle canvas carbon card career cargo carpet castle cattle cause cave
cedar cellar cement center chain chair chalk chapter charge chart cheese cherry chess chief
choice church circle citizen city claim class clay clerk climate clock cloth cloud coach coal
coast coat coffee coin column comet copper coral corner cotton council country county courage
course court cover crew cricket crop crowd crown crystal culture current curtain curve custom
cycle danger data dawn deal debate decade degree delta desert design detail device dinner
direction doctor dollar donor door draft dragon drawer dream dress drive duty eagle earth east
echo edge editor effort elbow energy engine equal error estate evening event evidence exact
example exit expert fabric factor family farm feather fence festival fiber field figure film
final finger fire fiscal flag flame flight flock floor flour flower focus forest fork formal
fortune forum frame freedom fresh friend frost fruit future galaxy garage garden gate gather
gentle giant glacier glass globe goal gold grain grape grass gravel green ground group growth
guard guest guide guitar habit hammer harbor harvest hazel heart heavy height helmet herald hill
history holiday honey horizon horse hotel hour house humble hunter idea image impact index
industry infant input insect island ivory jacket jewel journal journey judge juice jungle junior
justice kettle keyboard kingdom kitchen knight label ladder lake lamp language lantern large
laser lawyer leader leaf league legal lemon lesson letter level library light limit linen liquid
listen local logic lumber lunar machine magnet major maple marble march margin market master
matter meadow measure medal melody member memory merchant message metal meteor method middle
mild mineral minute mirror mobile model modern moment monitor morning motion motor mountain
museum music mutual narrow nation native nature needle network noble north notice novel number
object ocean office olive opera orange orbit orchard order organ origin outer owner oxygen
package palace panel paper parade parent party passage pastry patent path pattern peace pearl
pencil people pepper period permit phase phone photo phrase piano picture pilot pioneer planet
plant plate plaza poem poet policy pond portal potato powder power prairie present price prince
print prize problem process profit program project proof public pulse purple puzzle quality
quarter queen quick quiet radar radio railway rapid ratio record reform region relay remote
report rescue result review rhythm ribbon rice ridge river road robot rocket roof root route
royal rubber rural sailor salad sample satin scale scene school science screen season second
secret sector senate series shadow shape share shelter shield ship shore signal silent silver
simple single sister sketch smooth social soil solar soldier solid sound source south space
spare spark speech sphere spice spirit spring square stable stage statue steam steel stone storm
story stream street strong studio sugar summer supply surface symbol system table talent target
temple tender theory thread thunder ticket timber title token tower trade trail train travel
treaty tree trial tribe tunnel turtle union unit upper urban valley value vapor velvet vendor
venue vessel victory village violin vision visit voice volume voyage wagon water wealth weather
west wheat wheel whisper window winter wisdom wonder wood world writer yellow yield zero zone
""".split()

_TASKS = (
    "Write a short story that uses these words:",
    "Explain how the following things could be connected:",
    "Make up a newspaper article about:",
    "Describe a journey on which a traveller meets:",
    "Invent a recipe, a game or a machine that needs:",
)


_PHRASE_WORDS = 8
_PHRASES = 2048  # A power of two: 16 bits pick one evenly


@cache
def _phrases() -> list[bytes]:
    rng = random.Random("phrases")
    return [" ".join(rng.choices(WORDS, k=_PHRASE_WORDS)).encode("ascii") for _ in range(_PHRASES)]


class Prompts:
    """The prompts of one seed: a task and `words` words drawn at random, in phrases of eight.

    Each prompt begins with a random number, so that no two share a prefix that a server could
    cache. Warm-up jobs have negative numbers, and so prompts of their own. A prompt costs one
    digest and a few look-ups, since some are built under load.
    """

    def __init__(self, seed: int, words: int) -> None:
        self._seed = seed
        self._tasks = [task.encode("ascii") for task in _TASKS]
        self._phrases = _phrases()
        full, rest = divmod(words, _PHRASE_WORDS)
        self._tails = [b" ".join(phrase.split()[:rest]) for phrase in self._phrases] if rest else []
        self._picks = struct.Struct(f"<IH{full + bool(rest)}H")

    def encoded(self, job: int) -> bytes:
        """The prompt of one job, in ASCII, without characters that JSON escapes."""
        digest = hashlib.shake_256(b"%d/%d" % (self._seed, job)).digest(self._picks.size)
        number, task, *picks = self._picks.unpack(digest)
        tail = [self._tails[picks.pop() % _PHRASES]] if self._tails else []
        phrases = [self._phrases[pick % _PHRASES] for pick in picks]
        return b"%d. %b %b" % (number, self._tasks[task % len(_TASKS)], b" ".join(phrases + tail))


def prompt(seed: int, job: int, words: int) -> str:
    """The prompt of one job; see `Prompts`."""
    return Prompts(seed, words).encoded(job).decode("ascii")
