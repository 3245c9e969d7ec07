"""From an image's name, which may be anything that a file system or a list holds, to the name of its folder."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

MAX_BYTES = 120  # in UTF-8; file systems allow 255, and Windows 260 characters for the whole path

_FORBIDDEN = re.compile(r'[<>:"/\\|?*~]')
# Names of devices on Windows, with any ending.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\..*)?", re.IGNORECASE)


def folder_names(names: Sequence[str]) -> Mapping[str, str]:
    """Map the names of a run's images to folder names that no two images share, on any file system.

    Each name gets the folder of ``folder_name``. Names that a file system without upper and lower case takes for one
    all get a digest of the exact name.

    Args:
        names: All names of the dataset; repeated ones count once.
    """
    unique = dict.fromkeys(names)
    alike = Counter(_folded(folder_name(name)) for name in unique)
    return MappingProxyType(
        {name: _with_digest(name) if alike[_folded(folder_name(name))] > 1 else folder_name(name) for name in unique}
    )


def folder_name(name: str) -> str:
    """Return the folder name of one image: its name, where that is a plain one, else what is left of it and a digest.

    A plain name holds no path separator, control character or any of ``<>:"|?*~``, neither begins with a dot or space
    nor ends with one, is composed Unicode (NFC) of at most 120 bytes, and names no device of Windows. The digest, 16
    hexadecimal digits of SHA-256 after ``~``, keeps different names apart: ``foo`` stays, ``foo `` becomes
    ``foo~...``. The result is one path component, never ``.`` or ``..``. Names that differ in upper and lower case
    alone give folders that do so too; see ``folder_names``.
    """
    return name if _is_plain(name) else _with_digest(name)


def _is_plain(name: str) -> bool:
    return (
        bool(name)
        and not _FORBIDDEN.search(name)
        and name == _printable(name).strip(" .")
        and unicodedata.is_normalized("NFC", name)
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_BYTES
        and not _DEVICE.fullmatch(name)
    )


def _with_digest(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    rest = _FORBIDDEN.sub("_", _printable(unicodedata.normalize("NFC", name))).strip(" .")
    short = rest.encode()[: MAX_BYTES // 2].decode(errors="ignore").strip(" .")
    return f"{short or 'image'}~{digest}"


def _printable(name: str) -> str:
    """Leave out control characters, unpaired surrogates and unusual spaces."""
    return "".join(letter for letter in name if letter == " " or unicodedata.category(letter)[0] not in "CZ")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
