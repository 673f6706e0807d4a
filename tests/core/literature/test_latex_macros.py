r"""What TeX does before a reader sees anything: parts switched off, the author's abbreviations, files put together."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
import time

import pytest

from core.literature.extract import extract
from core.literature.latex_macros import expanded, without_switched_off
from core.literature.latex_sections import parse_latex, parse_source
from core.literature.papers import PaperText


def paper(body: str, preamble: str = "") -> str:
    return rf"\documentclass{{article}}{preamble}\begin{{document}}\section{{Setup}} {body} \end{{document}}"


def text_of(source: str) -> str:
    return "\n".join(section.text for section in parse_latex(source, "here")[1])


def test_a_number_that_is_switched_off_is_not_in_the_paper() -> None:
    source = paper(r"A learning rate of 1e-5. \iffalse A learning rate of 1e-2. \fi The end.")
    read = PaperText(id="1", title="", source="latex", url="", sections=parse_latex(source, "here")[1])
    assert [f.value for f in extract(read).findings] == [1e-5]
    assert text_of(source).endswith("The end.")


@pytest.mark.parametrize(
    ("source", "left"),
    [
        (r"a \iffalse b \ifx c \fi d \fi e", "a  e"),
        (r"a \iffalse b \else c \fi d", "a  c  d"),
        (r"a \iffalse b $x \iff y$ \ifthenelse{1}{2}{3} \fi d", "a  d"),
        (r"\newif\ifdraft a \iffalse \ifdraft b \fi c \fi d", r"\newif\ifdraft a  d"),
        (r"a \iffalse b", r"a \iffalse b"),
        (r"a \fi \else b", r"a \fi \else b"),
        (r"a \iffalse b \fi c \iffalse d \fi e", "a  c  e"),
    ],
)
def test_conditions_end_where_tex_ends_them(source: str, left: str) -> None:
    assert without_switched_off(source) == left


def test_names_and_values_written_as_macros_are_read() -> None:
    preamble = r"\newcommand{\ours}{ParrotRL\xspace}\newcommand\lr{3\times 10^{-6}}\def\bs{128}"
    read = text_of(paper(r"\ours{} beats \ours with a learning rate of $\lr$ and a batch size of \bs.", preamble))
    assert read == r"ParrotRL beats ParrotRL with a learning rate of $3\times 10^{-6}$ and a batch size of 128."


def test_macros_with_arguments_or_of_other_names_stay() -> None:
    source = r"\newcommand{\two}[2]{#1 and #2}\newcommand{\a}{x} \two{1}{2} \ab \a \a{}"
    assert expanded(source) == r"\newcommand{\two}[2]{#1 and #2} \two{1}{2} \ab x x"


def test_macros_that_multiply_end() -> None:
    letters = "abcdefghijklmnop"
    bomb = "".join(rf"\def\m{one}" + "{" + rf"\m{after}" * 60 + "}" for one, after in itertools.pairwise(letters))
    begun = time.process_time()
    assert len(expanded(bomb + r"\ma " * 1000)) < 2_000_000
    assert expanded(r"\def\a{\a\a} \a").count(r"\a") <= 32
    expanded(r"\newcommand{\x}{" * 50_000)
    without_switched_off(r"\iffalse " * 50_000)
    assert time.process_time() - begun < 20


def test_files_of_folders_are_put_in_their_places() -> None:
    files = {
        "main.tex": paper(r"\input{sec/../sec/one} \subimport{sec/}{two} \import{./sec}{four.tex} \input gone"),
        "sec/one.tex": r"One. \input{sec/deep}",
        "sec/deep.tex": "Deep.",
        "sec/two.tex": r"Two. \input{three}",
        "sec/three.tex": "Three.",
        "sec/four.tex": "Four.",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    _, sections = parse_source(gzip.compress(packed.getvalue()), "here")
    assert " ".join(s.text for s in sections) == "One. Deep. Two. Three. Four."
