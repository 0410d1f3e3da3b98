"""Makes odd_keys.json: object keys that are legal in S3 and awkward in a URL.

    python odd_keys.py > odd_keys.json
    python odd_keys.py --check           fails when the committed file is not what this makes

Every key obeys `is_legal`; the keys that the gate refuses have tests of their own. No key is a folder of
another, so that all of them fit into one bucket that is kept as files.
"""

import itertools
import json
import pathlib
import string
import sys
import unicodedata
import urllib.parse

FILE = pathlib.Path(__file__).with_name("odd_keys.json")

# `/` separates and `\` is refused wherever it stands.
PUNCTUATION = [c for c in string.punctuation if c not in "/\\"]


def is_legal(key):
    """No empty, `.` or `..` segment, no backslash, no control character, and none that decoding would make."""
    while True:
        segments = key.split(b"/")
        if any(segment in (b"", b".", b"..") for segment in segments):
            return False
        if b"\\" in key or any(unicodedata.category(c) == "Cc" for c in key.decode("utf-8", "replace")):
            return False
        decoded = urllib.parse.unquote_to_bytes(key)
        if decoded == key:
            return True
        # Decoding may never move a segment's border.
        if decoded.count(b"/") != key.count(b"/"):
            return False
        key = decoded


def candidates():
    # Punctuation: as the whole name, where a name starts, ends and breaks, and in every ordered pair.
    for c in PUNCTUATION:
        yield f"one/{c}"
        yield f"one/{c}start"
        yield f"one/end{c}"
        yield f"one/mid{c}dle"
        yield f"{c}first/in a folder named after it"
    for a, b in itertools.product(PUNCTUATION, repeat=2):
        yield f"two/{a}{b}"
    yield "all/" + "".join(PUNCTUATION)
    yield "all/" + "".join(reversed(PUNCTUATION))

    # Spaces: anywhere, alone, many.
    yield from (" lead", "trail ", "mid dle", "  two  each  ", " ", "spaces/ ", "spaces/   ", " folder /name")
    yield from ("spaces/ lead", "spaces/trail ", "spaces/a + b", "spaces/a+b c%20d", "spaces/a%20b", "spaces/+ +")

    # Percent: literal text that looks encoded, half encoded or not at all.
    for text in (
        "%", "%%", "%25", "%2525", "%252525", "%zz", "%2", "%a", "%G0", "%0", "100%", "100%25", "50%off", "%20", "%2B",
        "%2b", "%26", "%3D", "%3d", "%3F", "%3f", "%23", "%41", "%7E", "%7e", "%C3%A9", "%c3%a9", "%FF", "%C3", "%u0041",
        "%E2%82%AC", "%F0%9F%8E%AC", "%zz%zz", "%%%", "%%20", "%20%", "a%2Eb", "a%2e", "%2e%2e%2e", "%25zz", "%25%32",
        "%+", "+%", "%2%35", "%%35",
    ):
        yield f"percent/{text}"
        yield f"percent/a{text}b.jpg"

    # What reads as another part of a URL, or of a signed one.
    for text in (
        "?", "??", "?a=b", "a?b=c&d=e", "#", "#fragment", "a#b?c", "a?b#c", "&", "&amp;", "=", "a=b", ";", ";a=b", ";jsessionid=1",
        ":", "::", "a:b", "http:", "https:x", "mailto:a@b", "@", "user@host", "user:pass@host", "host:80", "[::1]", "[", "]",
        "{}", "{id}", "|", "^", "`", "'", '"', "'quoted'", '"quoted"', "<a>", "<!-- -->", "$", "$1", "${x}", "$(x)", "!", "!!",
        "*", "**", "*.jpg", "(1)", "a (1).jpg", ",", "a,b", "~", "~root", "~/x", "?fat=x", "?X-Amz-Signature=0", "X-Amz-Date=0",
        "?versionId=null", "?redirect=0", "a&b=c", "a=b&c", "+", "++", "a+b", "C++", "-", "--", "-rf", "_", "__proto__",
    ):
        yield f"url/{text}/name"
        yield f"url/name/{text}"

    # Names that some system somewhere treats as its own.
    for text in (
        "...", "....", ".hidden", "..hidden", "a.", "a..", "a..b", ". .", ".. ", " ..", ". ", " .", ".a.", "-", "CON", "con", "NUL",
        "aux.txt", "COM1", "LPT1.jpg", "nul.", "Thumbs.db", ".DS_Store", ".git", ".htaccess", "web.config", "index.html", "etc", "null",
        "undefined", "None", "true", "0", "-1", "1e9", "NaN", "00", "favicon.ico", "robots.txt", "desktop.ini", "soap", "?", "*",
    ):
        yield f"names/{text}"
        yield f"names in folders/{text}/x"

    # Unicode of two, three and four bytes, composed and not, right to left, joined, wide, invisible.
    for text in (
        "é", "e\u0301", "ß", "ñ", "Å", "A\u030a", "\u212b", "ÿ", "ı", "İ", "ǅ", "Ω", "\u2126", "Привет", "Ελλάδα", "日本語", "中文 文件", "한국어",
        "\u1112\u1161\u11ab", "ไทย", "हिन्दी", "עברית", "العربية", "עברית abc עברית", "\u202eexe.jpg", "\u200fx", "\u200e", "a\u200bb", "a\u200db", "a\u00adb",
        "\ufeffbom", "a\u2060b", "a\u00a0b", "a\u3000b", "a\u2003b", "a\u2028b", "a\u2029b", "ﬁ", "①", "½", "…", "‥", "․", "\uff0e\uff0e", "\uff0f", "\u2215", "\u2044",
        "\uff3c", "\uff05\uff12\uff26", "“x”", "‘x’", "€", "℃", "™", "𝒳", "𝟘", "🎬", "👩\u200d👩\u200d👧", "🇨🇭", "👍🏽", "❤\ufe0f", "🏴\U000e0067\U000e0062\U000e007f", "𠀀", "\U0010fffd", "\ue000", "\ufffd",
        "Z\u0351\u034b\u0307\u0302a\u0334\u0315\u0321", "a\u0300\u0301\u0302\u0303", "\u0301", "ﷺ", "ǆ", "ẞ", "K", "\u212a",
    ):
        yield f"unicode/{text}"
        yield f"unicode/{text} +%/{text}.png"

    # Long names and deep paths. 250 bytes each: what a file system takes, with room for a suffix.
    for unit in ("a", "~", "%", "+", " x", "é", "日", "🎬", ".a", "%zz", "-"):
        count, rest = divmod(250, len(unit.encode()))
        yield "long/" + unit * count + "z" * rest
    yield "deep/" + "/".join("a" for _ in range(100))
    yield "deep/" + "/".join(str(n) for n in range(100))
    yield "deep " + "/ +%".join("é" for _ in range(60))
    # 1,024 bytes in all, the longest key that S3 takes, with room for `media/` before it.
    yield "/".join(["m" * 200] * 5)
    yield "x" * 200 + "/" + "y" * 250 + "/" + "é" * 125 + "/" + "🎬" * 62
    # As short as can be.
    yield from ("a", "0", "é", "🎬", "+", "%", "~", "&", "?", "#", "'", "%25")


def keys():
    seen = dict.fromkeys(key for key in candidates() if is_legal(key.encode()))
    folders = {key[:at] for key in seen for at, c in enumerate(key) if c == "/"}
    return [key for key in seen if key not in folders]


def document():
    return json.dumps(keys(), ensure_ascii=True, indent=0) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text(encoding="ascii") != document():
            sys.exit("odd_keys: odd_keys.json is not what odd_keys.py makes; make it again: "
                     "python3 tests/oracle/odd_keys.py > tests/oracle/odd_keys.json")
        print(f"odd_keys: {len(keys())} keys, as committed")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        sys.stdout.write(document())
