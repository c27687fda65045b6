"""Recognises stains other than DAB by the laboratory's name of the staining.

The lists contain the common special stains of histology, in English and German. Only whole words match, so the name
of an antibody does not (HE4 is not HE). Names that are not in the lists are ignored.
"""

from __future__ import annotations

import re

_WORDS = """
    h&e h+e h/e he hes h&es hematoxylin-eosin haematoxylin-eosin hämatoxylin-eosin eosin eosine
    pas pasd pas-d pasm abpas ab-pas giemsa mgg pappenheim wright papanicolaou
    masson trichrome trichrom goldner ladewig azan mallory movat pentachrome pentachrom
    evg elastica vvg gieson sirius weigert orcein
    silver silber versilberung sish reticulin retikulin gomori gömöri gms grocott jones pams warthin-starry
    bielschowsky gallyas fontana fontana-masson kossa
    congo kongo kongorot congored prussian perls turnbull eisen iron
    alcian alzian mucicarmine mucicarmin ziehl ziehl-neelsen gram fite toluidine toluidin sudan oil-red-o
    luxol lfb nissl kluver klüver kresyl cresyl feulgen rhodanin rhodanine cae
    aec novared magenta bcip/nbt nbt/bcip
"""
_PHRASES = r"""
    h[\s&+/.-]{1,3}e | h\s+(?:and|und|et|u\.)\s+e | h(?:a?e|ä)matoxylin\W*(?:and|und|et|u\.|&|\+|/)?\W*eosine? |
    periodic[\s-]acid | oil\s+red | berlin(?:er)?\W+bl(?:ue|au) | vector\s+vip |
    (?:fast|permanent|vector|liquid\s+permanent)\s+red
"""
_SPECIAL = re.compile(
    rf"(?<![^\W_])(?:{'|'.join(re.escape(each) for each in _WORDS.split())}|{_PHRASES})(?![^\W_])", re.I | re.X
)
_DAB = re.compile(r"(?<![^\W_])(?:dab|diaminobenzidine?|ihc|ihk|immun\w*)(?![^\W_])", re.I)


def is_special_stain(name: str) -> bool:
    """Return whether a staining's name contains H&E, a special stain or a chromogen other than DAB.

    Returns False if it also contains DAB or immunohistochemistry (as in "IHC, HE counterstain").
    """
    return bool(_SPECIAL.search(name)) and not _DAB.search(name)
