"""WordNet's nouns: hand-checked ids and relations, and copies that a user may bring."""

from __future__ import annotations

import ast
import re
import zipfile
from pathlib import Path

import pytest

from wordtree.names import is_wnid
from wordtree.wordnet import NOUN_ARCHIVE, UnknownSynset, WordNetDataError, open_wordnet

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundled files, as a user's copy."""
    folder = tmp_path_factory.mktemp("wordnet")
    with zipfile.ZipFile(NOUN_ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize(
    ("synset", "wnid"),
    [("entity.n.01", "n00001740"), ("dog.n.01", "n02084071"), ("car.n.01", "n02958343"), ("mouse.n.04", "n03793489")],
)
def test_ids_are_offsets_of_wordnet_3_0(synset: str, wnid: str) -> None:
    assert open_wordnet().wnid(synset) == wnid
    assert open_wordnet().synset(wnid) == synset


def test_a_synset_is_found_by_any_of_its_lemmas_and_with_spaces_and_capitals() -> None:
    wordnet = open_wordnet()
    assert wordnet.wnid("Norfolk terrier.n.01") == wordnet.wnid("norfolk_terrier.n.01") == "n02094114"
    assert wordnet.wnid("automobile.n.01") == "n02958343"


def test_relations_and_lemmas() -> None:
    wordnet = open_wordnet()
    assert [wordnet.synset(above) for above in wordnet.hypernyms("n02084071")] == [
        "canine.n.02",
        "domestic_animal.n.01",
    ]
    assert wordnet.hypernyms("n00001740") == ()
    assert wordnet.lemmas("n02084071") == ("dog", "domestic dog", "Canis familiaris")
    # Einstein is an instance, not a kind, of physicist
    assert [wordnet.synset(above) for above in wordnet.hypernyms(wordnet.wnid("einstein.n.01"))] == ["physicist.n.01"]
    assert wordnet.wnid("einstein.n.01") in wordnet.hyponyms(wordnet.wnid("physicist.n.01"))


def test_hypernyms_are_sorted_for_every_noun_below_vehicle() -> None:
    wordnet = open_wordnet()
    several = [wnid for wnid in wordnet.descendants(wordnet.wnid("vehicle.n.01")) if len(wordnet.hypernyms(wnid)) > 1]
    assert len(several) > 20
    for wnid in several:
        names = [wordnet.synset(above) for above in wordnet.hypernyms(wnid)]
        assert names == sorted(names)


def test_a_noun_leads_to_its_senses_in_wordnets_order_also_from_a_plural() -> None:
    wordnet = open_wordnet()
    assert [wordnet.synset(sense) for sense in wordnet.senses("skis")] == ["ski.n.01"]
    assert next(wordnet.synset(sense) for sense in wordnet.senses("geese")) == "goose.n.01"
    assert [wordnet.synset(sense) for sense in wordnet.senses("Fire  Hydrant")] == ["fireplug.n.01"]
    assert wordnet.senses("pallet jack") == ()


@pytest.mark.parametrize("name", ["car", "car.n.99", "run.v.01", "nosuchthing.n.01", "car.n.0", "", "n02958343"])
def test_what_is_no_noun_synset_is_refused(name: str) -> None:
    with pytest.raises(UnknownSynset):
        open_wordnet().wnid(name)


@pytest.mark.parametrize("wnid", ["n02084072", "n99999999", "v02084071", "dog", ""])
def test_what_is_no_wnid_is_not_in_wordnet(wnid: str) -> None:
    assert wnid not in open_wordnet()
    with pytest.raises(UnknownSynset, match=re.escape(f"{wnid} is no noun of WordNet 3.0")):
        open_wordnet().synset(wnid)


def test_the_form_of_a_wnid() -> None:
    assert is_wnid("n99999999")
    assert not any(map(is_wnid, ("n9999999", "N02084071", "x-dog", " n02084071", "n02084071\n")))


def test_glosses_are_blank_and_every_synset_is_at_its_offset(unpacked: Path) -> None:
    data = (unpacked / "data.noun").read_bytes()
    offset = 0
    for line in data.split(b"\n"):
        if line and not line.startswith(b"  "):
            assert int(line[:8]) == offset
            assert not line.partition(b"|")[2].strip()
        offset += len(line) + 1
    assert b"WordNet 3.0 Copyright 2006 by Princeton University" in data  # the licence stays in every copy
    assert NOUN_ARCHIVE.with_name("WORDNET-LICENSE.txt").is_file()
    assert NOUN_ARCHIVE.stat().st_size < 4_000_000


@pytest.mark.parametrize("inside", [".", "corpora/wordnet"])
def test_a_users_copy_is_read_where_debian_and_nltk_put_it(unpacked: Path, tmp_path: Path, inside: str) -> None:
    home = tmp_path / inside
    home.mkdir(parents=True, exist_ok=True)
    for name in ("data.noun", "index.noun"):  # noun.exc may be absent
        (home / name).symlink_to(unpacked / name)
    assert open_wordnet(tmp_path).synset("n02958343") == "car.n.01"
    assert open_wordnet(str(tmp_path)) is open_wordnet(tmp_path)


def copy_with(unpacked: Path, folder: Path, old: bytes, new: bytes) -> Path:
    """Return a folder with another data.noun."""
    (folder / "data.noun").write_bytes((unpacked / "data.noun").read_bytes().replace(old, new, 1))
    (folder / "index.noun").symlink_to(unpacked / "index.noun")
    return folder


def test_a_3_1_database_is_refused_with_the_reason(unpacked: Path, tmp_path: Path) -> None:
    folder = copy_with(unpacked, tmp_path, b"WordNet 3.0 Copyright", b"WordNet 3.1 Copyright")
    with pytest.raises(WordNetDataError, match=r"is WordNet 3\.1\..*byte offsets of WordNet 3\.0"):
        open_wordnet(folder)


def test_a_database_that_was_edited_is_refused(unpacked: Path, tmp_path: Path) -> None:
    folder = copy_with(unpacked, tmp_path, b"| ", b"|")
    with pytest.raises(WordNetDataError, match="not WordNet 3.0 as released .*'dog' is not at 02084071"):
        open_wordnet(folder)


def test_a_folder_without_the_files_is_refused_with_what_it_holds(unpacked: Path, tmp_path: Path) -> None:
    with pytest.raises(WordNetDataError, match=r"looked for data.noun and index.noun; it is empty"):
        open_wordnet(tmp_path)
    (tmp_path / "data.noun").symlink_to(unpacked / "data.noun")
    (tmp_path / "wordnet.zip").touch()
    with pytest.raises(WordNetDataError, match=r"it holds data.noun, wordnet.zip. Unpack the archive first"):
        open_wordnet(tmp_path)
    with pytest.raises(WordNetDataError, match="it is no folder"):
        open_wordnet(tmp_path / "data.noun")


def test_no_other_file_imports_nltk() -> None:
    importers = set()
    for path in (
        *REPOSITORY.glob("wordtree/*.py"),
        *REPOSITORY.glob("yolo9000/**/*.py"),
        *REPOSITORY.glob("tools/*.py"),
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(module.split(".")[0] == "nltk" for module in modules):
                importers.add(path.name)
    assert importers == {"wordnet.py"}


@pytest.mark.slow
def test_the_number_of_nouns() -> None:
    wordnet = open_wordnet()
    assert len(wordnet.descendants(wordnet.wnid("entity.n.01"))) == 82_114
    assert len(wordnet.descendants(wordnet.wnid("physical_entity.n.01"))) == 46_161
