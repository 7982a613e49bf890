"""The digest of code: what moves it, what does not, and that no version of Python changes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ren_core.code_identity import PACKAGES, code_digest, code_text
from ren_core.errors import DataError

PROJECT = Path(__file__).parents[2]

PACKAGE = {
    "__init__.py": "from .names import Thing\n",
    "names.py": "class Thing:\n    size: int = 3\n",
    "stage.py": "from pack.maths import area\n\n\ndef run(a):\n    return area(a, 2)\n",
    "maths.py": "def area(*ab):\n    from . import late\n\n    return late.f(*ab)\n",
    "late.py": "try:\n    from pack.deep.inner import f\nexcept ImportError:\n    f = None\n",
    "deep/__init__.py": "DEPTH = 2\n",
    "deep/inner.py": "from ..names import Thing\n\n\ndef f(a, b):\n    return a * b + Thing.size\n",
    "other.py": "from pack import stage\n\nX = 1\n",
}
"""``pack.stage`` needs every file but ``other.py``."""

SYNTAX = r'''
"""A docstring."""
from __future__ import annotations
from b import d, c as e
import a.b  # why
if TYPE_CHECKING:
    from types import Unseen
else:
    seen = True
size = 0x10 + 1_000 * -2.50 + 3j, b"a" b'\xff', ..., None, 'é' "😀\n"
@decorate(every=1)
async def go(x: int, /, *more, key=None, **rest) -> str:
    """A docstring."""
    global total
    async with opened(x) as (first, *others):
        yield [await y async for y in x if (n := len(y)) > 1]
class Empty(Base, metaclass=Meta):
    pass
class Row:
    name: str = field(default="a")
    """A docstring of the attribute."""
match command:
    case {"go": [1, *_], **rest} if rest: f(*rest, **rest)
    case Point(x=0) | None: pass
pick = lambda a, *, b=1: {**a, 'b': a[1:, ::2] if not a else {b}}
text = f"{{a}} {x!r:>{width}}" 'tail' f"{d['key']:{'>'}{10}}{n = :}" f''
for i in range(3): print(i)
else: raise Stop from None
'''

SYNTAX_TEXT = r"""
Import(names=[alias(name=a.b)])
ImportFrom(module=__future__, names=[alias(name=annotations)], level=0)
ImportFrom(module=b, names=[alias(name=c, asname=e), alias(name=d)], level=0)
Assign(targets=[Name(id=seen)], value=Constant(True))
Assign(targets=[Name(id=size)], value=Tuple(elts=[BinOp(left=BinOp(left=Constant(16), op=Add(), right=BinOp(left=Constant(1000), op=Mult(), right=UnaryOp(op=USub(), operand=Constant(2.5)))), op=Add(), right=Constant(3j)), Constant(b'a\xff'), Constant(Ellipsis), Constant(None), Constant('\xe9\U0001f600\n')]))
AsyncFunctionDef(name=go, args=arguments(posonlyargs=[arg(arg=x, annotation=Name(id=int))], vararg=arg(arg=more), kwonlyargs=[arg(arg=key)], kw_defaults=[Constant(None)], kwarg=arg(arg=rest)), body=[Global(names=[total]); AsyncWith(items=[withitem(context_expr=Call(func=Name(id=opened), args=[Name(id=x)]), optional_vars=Tuple(elts=[Name(id=first), Starred(value=Name(id=others))]))], body=[Expr(value=Yield(value=ListComp(elt=Await(value=Name(id=y)), generators=[comprehension(target=Name(id=y), iter=Name(id=x), ifs=[Compare(left=NamedExpr(target=Name(id=n), value=Call(func=Name(id=len), args=[Name(id=y)])), ops=[Gt()], comparators=[Constant(1)])], is_async=1)])))])], decorator_list=[Call(func=Name(id=decorate), keywords=[keyword(arg=every, value=Constant(1))])], returns=Name(id=str))
ClassDef(name=Empty, bases=[Name(id=Base)], keywords=[keyword(arg=metaclass, value=Name(id=Meta))])
ClassDef(name=Row, body=[AnnAssign(target=Name(id=name), annotation=Name(id=str), value=Call(func=Name(id=field), keywords=[keyword(arg=default, value=Constant('a'))]), simple=1)])
Match(subject=Name(id=command), cases=[match_case(pattern=MatchMapping(keys=[Constant('go')], patterns=[MatchSequence(patterns=[MatchValue(value=Constant(1)), MatchStar()])], rest=rest), guard=Name(id=rest), body=[Expr(value=Call(func=Name(id=f), args=[Starred(value=Name(id=rest))], keywords=[keyword(value=Name(id=rest))]))]), match_case(pattern=MatchOr(patterns=[MatchClass(cls=Name(id=Point), kwd_attrs=[x], kwd_patterns=[MatchValue(value=Constant(0))]), MatchSingleton()]))])
Assign(targets=[Name(id=pick)], value=Lambda(args=arguments(args=[arg(arg=a)], kwonlyargs=[arg(arg=b)], kw_defaults=[Constant(1)]), body=Dict(keys=[None, Constant('b')], values=[Name(id=a), IfExp(test=UnaryOp(op=Not(), operand=Name(id=a)), body=Subscript(value=Name(id=a), slice=Tuple(elts=[Slice(lower=Constant(1)), Slice(step=Constant(2))])), orelse=Set(elts=[Name(id=b)]))])))
Assign(targets=[Name(id=text)], value=JoinedStr('{a} ', FormattedValue(value=Name(id=x), conversion=114, format_spec=JoinedStr('>', FormattedValue(value=Name(id=width), conversion=-1))), 'tail', FormattedValue(value=Subscript(value=Name(id=d), slice=Constant('key')), conversion=-1, format_spec=JoinedStr(FormattedValue(value=Constant('>'), conversion=-1), FormattedValue(value=Constant(10), conversion=-1))), 'n = ', FormattedValue(value=Name(id=n), conversion=-1)))
For(target=Name(id=i), iter=Call(func=Name(id=range), args=[Constant(3)]), body=[Expr(value=Call(func=Name(id=print), args=[Name(id=i)]))], orelse=[Raise(exc=Name(id=Stop), cause=Constant(None))])
"""  # noqa: E501 - a line per statement
"""Looked through by hand; the same in every Python."""


def write(folder, files):
    for name, text in files.items():
        file = folder / "pack" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return {"pack": folder / "pack"}


@pytest.fixture
def digest_of(tmp_path):
    """The digest of ``pack.stage`` with some files replaced; every call has a folder of its own."""
    copies = iter(range(100))

    def digest_of(module="pack.stage", **changed):
        files = {**PACKAGE, **{f"{name}.py": text for name, text in changed.items()}}
        return code_digest(module, roots=write(tmp_path / str(next(copies)), files))

    return digest_of


@pytest.mark.parametrize("name", sorted(PACKAGE))
def test_a_line_of_code_counts_where_it_is_imported(tmp_path, name):
    before = code_digest("pack.stage", roots=write(tmp_path / "a", PACKAGE))
    changed = {**PACKAGE, name: PACKAGE[name] + "\nCHANGED = 1\n"}
    after = code_digest("pack.stage", roots=write(tmp_path / "b", changed))
    assert (after == before) == (name == "other.py")


def test_the_folder_does_not_count_and_the_module_asked_for_does(digest_of):
    assert digest_of() == digest_of()
    assert digest_of() != digest_of("pack.maths")
    assert len(digest_of()) == 12


def test_comments_docstrings_and_layout_do_not_count(digest_of):
    plain = "from pack.maths import area\nA = ['b', 2]\n\ndef run(a):\n    return area(a, A)\n"
    dressed = (
        '"""What it does."""\n\n\nfrom pack.maths import (  # see there\n    area,\n)\n\n'
        'A = [\n    "b",  # a comment\n    0x2,\n]\n"""What A is."""\n\n\n'
        "def run(a):\n    '''Run.'''\n    # why\n    return area(\n        (a), A,\n    )\n"
    )
    assert digest_of(stage=plain) == digest_of(stage=dressed)
    assert digest_of(stage=plain) == digest_of(stage=plain.replace("\n", "\r\n"))
    assert digest_of(stage=plain) == digest_of(stage="\ufeff" + plain)


def test_what_code_says_counts():
    texts = {
        code_text(source)
        for source in (
            "f(1)", "f(1.0)", "f('1')", "f(b'1')", "f(True)", "f(-1)", "f()", "f", "f(f)", "f([])",
            "x = {None: x}", "x = {**x}", "x: int = 1", "x: str = 1", "x = 1",
            "raise E('a')", "raise E('b')", "return", "return None", "def g(): f()", "def h(): f()",
            "f'{x}'", "f'{x!r}'", "f'{x:3}'", "f'x'", "'x' + x",
            "from a import f", "from b import f", "from a import f as g", "from .a import f",
            "if a: b()", "if a:\n    pass\nelse: b()", "if not TYPE_CHECKING: b()", "b()",
        )
    }  # fmt: skip
    assert len(texts) == 34


def test_order_of_neighbouring_imports_does_not_count_and_of_statements_does():
    one = code_text("import a\nfrom b import c, d\nx()\ny()")
    assert one == code_text("from b import d, c\nimport a\nx()\ny()")
    assert one != code_text("import a\nfrom b import c, d\ny()\nx()")


@pytest.mark.parametrize("guard", ["TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING"])
def test_imports_for_types_do_not_count(digest_of, guard):
    plain = "def run(): return 1"
    guarded = f"{plain}\nif {guard}:\n    from pack.maths import area\n"
    before = digest_of(stage=plain)
    assert digest_of(stage=guarded) == before
    assert digest_of(stage=guarded, maths="CHANGED = 1") == before
    assert digest_of(stage=f"{guarded}else:\n    import pack.maths\n") != before


@pytest.mark.parametrize(
    "statement",
    [
        "import pack.other",
        "import pack.other as o",
        "import os, pack.other",
        "from pack import other",
        "from pack import maths, other as o",
        "from pack.other import X",
        "from pack.other import *",
        "from . import other",
        "from .other import X",
        "def f():\n    import pack.other",
        "class C:\n    def f(self):\n        with x:\n            from .other import X",
        "match x:\n    case 1:\n        from .other import X",
        "if x:\n    pass\nelif y:\n    import pack.other",
    ],
)
def test_every_way_to_import_is_followed(digest_of, statement):
    other = {"other": "X = 1\n"}
    before = digest_of(stage=statement, **other)
    assert digest_of(stage=statement, **other) == before
    assert digest_of(stage=statement, other="X = 2\n") != before


def test_relative_imports_of_a_package_start_at_itself(digest_of):
    files = {
        "stage": "import pack.deep",
        "deep/__init__": "from . import inner\nfrom .. import late\n",
        "deep/inner": "A = 1",
        "late": "B = 1",
    }
    before = digest_of(**files)
    assert digest_of(**{**files, "deep/inner": "A = 2"}) != before
    assert digest_of(**{**files, "late": "B = 2"}) != before


def test_names_that_a_package_loads_late_count_for_those_who_import_them(digest_of):
    lazy = "def __getattr__(name):\n    from pack import other\n\n    return getattr(other, name)\n"

    def is_moved(stage):
        first = digest_of(stage=stage, __init__=lazy, other="X = 1")
        return first != digest_of(stage=stage, __init__=lazy, other="X = 2")

    assert not is_moved("from pack.names import Thing")
    assert not is_moved("from pack import names")
    assert is_moved("from pack import X")
    assert is_moved("import pack")
    assert digest_of(__init__="") != digest_of(__init__=lazy)


def test_circular_imports_end(digest_of):
    digest = digest_of(maths="from pack.stage import run\nimport pack.maths\n")
    assert digest != digest_of()


def test_a_file_is_read_again_once_it_changed(tmp_path):
    roots = write(tmp_path, PACKAGE)
    before = code_digest("pack.stage", roots=roots)
    write(tmp_path, {"names.py": "class Thing:\n    size = 12345\n"})
    assert code_digest("pack.stage", roots=roots) != before


def test_what_is_missing_or_broken_is_named(digest_of, tmp_path):
    with pytest.raises(DataError, match=r"pack\.gone"):
        digest_of(maths="from pack.gone import area")
    with pytest.raises(DataError, match=r"pack\.gone"):
        digest_of("pack.gone")
    with pytest.raises(DataError, match=r"module torch"):
        digest_of("torch")
    with pytest.raises(DataError, match=r"maths\.py cannot be parsed by Python 3"):
        digest_of(maths="def area(:")


def test_a_script_is_named_by_its_file(tmp_path, monkeypatch):
    roots = write(tmp_path, PACKAGE)
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", str(tmp_path / "pack/deep/inner.py"), raising=False)
    assert code_digest("__main__", roots=roots) == code_digest("pack.deep.inner", roots=roots)
    monkeypatch.setattr(main, "__file__", str(tmp_path / "elsewhere.py"))
    with pytest.raises(DataError, match=r"elsewhere\.py is not in pack"):
        code_digest("__main__", roots=roots)
    monkeypatch.delattr(main, "__file__")
    with pytest.raises(DataError, match="None is not in pack"):
        code_digest("__main__", roots=roots)


def test_the_text_of_all_syntax_is_the_same_in_every_python():
    assert code_text(SYNTAX).splitlines() == SYNTAX_TEXT.strip().splitlines()


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_other_pythons_find_the_same_digest(minor):
    python = other_python(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    program = (
        "import sys; from ren_core.code_identity import code_digest, code_text;"
        "source = sys.stdin.buffer.read();"
        "print(code_digest('vq2d.localize.localizer')); print(ascii(code_text(source)))"
    )
    done = subprocess.run(
        [python, "-c", program], input=SYNTAX.encode(), capture_output=True, cwd=PROJECT, check=True
    )
    digest, text = done.stdout.decode().splitlines()
    assert digest == code_digest("vq2d.localize.localizer")
    assert text == ascii(code_text(SYNTAX))


def other_python(minor):
    """A Python 3.minor on the path or, unknown to the path, of pyenv."""
    name = f"python3.{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(name), *pyenv.glob(f"versions/3.{minor}.*/bin/{name}")]
    for python in filter(None, found):  # pyenv's own entry on the path may start nothing
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
            return python
    return None


def test_every_module_of_ours_can_be_read():
    files = (file for name in PACKAGES for file in (PROJECT / name).rglob("*.py"))
    modules = [".".join(f.relative_to(PROJECT).with_suffix("").parts) for f in files]
    digests = {code_digest(module.removesuffix(".__init__")) for module in modules}
    assert len(digests) == len(modules) > 100


def test_stages_know_their_own_code_only(tmp_path):
    """A copy of the tree in which the model changes: its tokens move, a video's frames do not."""
    before, after = {}, {}
    for name in PACKAGES:
        shutil.copytree(
            PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("assets", "__pycache__")
        )
    roots = {name: tmp_path / name for name in PACKAGES}
    stages = ("vq2d.localize.tokens", "vq2d.video.frames")
    for digests, line in ((before, ""), (after, "SCALE = 2\n")):
        with (tmp_path / "ren_core/model.py").open("a") as file:
            file.write(line)
        digests.update({stage: code_digest(stage, roots=roots) for stage in stages})
    assert before == {stage: code_digest(stage) for stage in stages}
    assert before[stages[0]] != after[stages[0]]
    assert before[stages[1]] == after[stages[1]]


def test_it_costs_little():
    before = time.process_time()
    code_digest("vq2d.localize.localizer")
    assert time.process_time() - before < 1
