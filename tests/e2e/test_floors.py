"""tests/floors, which holds the sources to their plan: silent about a small house that keeps to it, red for each wall that
can be broken. The house is compiled, because the calls between files are read from the objects."""

import subprocess

import pytest

from harness.service import REPO

HOUSE = {
    "shared/base/log.h": "void log_line(const char *text);",
    "shared/base/log.c": '#include "shared/base/log.h"\nvoid log_line(const char *text) { (void)text; }',
    "shared/json/json.h": "int json_read(const char *text);",
    "shared/json/json_internal.h": "int json_depth(const char *text);",
    "shared/json/depth.c": '#include "shared/json/json_internal.h"\nint json_depth(const char *text) { return !text; }',
    "shared/json/json.c": '#include "shared/json/json.h"\n#include "shared/base/log.h"\n'
    '#include "shared/json/json_internal.h"\n'
    "int json_read(const char *text) { log_line(text); return json_depth(text); }",
    "shared/database/database.c": "#include <sqlite3.h>\nint version(void) { return sqlite3_libversion_number(); }",
    "api/main.c": '#include "shared/json/json.h"\nint main(void) { return json_read("{}"); }',
    "gateway/main.c": '#include "shared/json/json.h"\nint main(void) { return json_read("[]"); }',
}


def floors(root, before=None, compiled=True):
    """What the script prints about the HOUSE below `root`, with lines put before the text of some files."""
    for name, text in HOUSE.items():
        source, object_file = root / name, root / "build" / name
        for path in (source, object_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(f"{(before or {}).get(name, '')}\n{text}\n")
    for source in root.glob("*/**/*.c"):
        object_file = root / "build" / source.relative_to(root).with_suffix(".o")
        subprocess.run(["cc", f"-I{root}", "-c", "-o", object_file, source], check=True)
    objects = ["--objects", root / "build"] if compiled else []
    done = subprocess.run([REPO / "tests/floors", "--root", root, *objects], capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == (1 if done.stdout else 0)
    return done.stdout


def test_a_house_that_keeps_to_its_plan_is_passed_in_silence(tmp_path):
    assert floors(tmp_path) == ""


@pytest.mark.parametrize("name, header, what", [
    ("shared/base/log.h", "shared/json/json.h", "which is not below it"),
    ("gateway/main.c", "shared/json/json_internal.h", "which is of another room"),
])  # fmt: skip
def test_an_include_through_a_wall_is_named(tmp_path, name, header, what):
    assert f"{name}: includes {header}, {what}\n" in floors(tmp_path, {name: f'#include "{header}"'})


def test_a_room_that_is_on_no_floor_is_named(tmp_path):
    (tmp_path / "shared/cellar").mkdir(parents=True)
    (tmp_path / "build/shared/cellar").mkdir(parents=True)
    (tmp_path / "shared/cellar/cellar.c").write_text('#include "shared/base/log.h"\n')
    assert floors(tmp_path).startswith("shared/cellar/cellar.c: not on a floor that is known")


def test_two_files_that_include_each_other_are_a_ring(tmp_path):
    said = floors(tmp_path, {"shared/json/json_internal.h": '#include "shared/json/json.h"'}, compiled=False)
    assert said == "a ring: shared/json/json, shared/json/json_internal\n"


def test_two_files_that_call_each_other_are_a_ring_whatever_they_include(tmp_path):
    call = "int json_read(const char *text);\nint again(void);\nint again(void) { return json_read(0); }"
    said = floors(tmp_path, {"shared/json/depth.c": call})
    assert said == "a ring: shared/json/depth, shared/json/json\n"
    assert floors(tmp_path, {"shared/json/depth.c": call}, compiled=False) == ""


def test_a_library_is_known_only_where_the_plan_says(tmp_path):
    assert floors(tmp_path, {"api/main.c": "#include <sqlite3.h>"}) == "api/main.c: may not know <sqlite3.h>\n"


def test_a_tree_without_sources_is_red(tmp_path):
    done = subprocess.run([REPO / "tests/floors", "--root", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and "no sources" in done.stdout
