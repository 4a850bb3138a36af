import json
import re
import struct
import zlib

import pytest
from fake_runs import fake_run
from PIL import Image
from web_pages import read_page

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.locking import one_writer
from nestevo_hw.pages.style import DARK, LIGHT, ROLES, THEMED
from nestevo_hw.report.page import write_report


def test_the_page_is_well_formed_and_loads_nothing(written):
    page = read_page(written / "report.html")
    assert {load.split(":")[0] if load.startswith("data:") else load[0] for load in page.loads} == {"data", "#"}
    assert not re.search(r"url\((?!#)", (written / "report.html").read_text())


def test_the_page_follows_the_reader_s_theme(written):
    text = (written / "report.html").read_text()
    assert not [role for role in ROLES if getattr(THEMED, role) in text]
    drawn = set(re.findall(r"var\(--(\w+)\)", text[text.index("<body>") :]))
    assert drawn <= set(ROLES)
    assert {"before", "after", "teacher", "alarm", "mutual"} <= drawn
    for palette in (LIGHT, DARK):
        assert f"--ink: {palette.ink};" in text


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("role", "least"), [("ink", 7.0), ("muted", 4.5), ("before", 4.0), ("after", 4.5), ("teacher", 4.5), ("alarm", 4.5)]
)
def test_colours_are_legible(palette, role, least):
    a, b = sorted((luminance(getattr(palette, role)), luminance(palette.surface)))
    assert (b + 0.05) / (a + 0.05) >= least


def test_the_page_shows_the_figures_of_the_run(written):
    text = (written / "report.html").read_text()
    assert "All 3 terminals improved" in text
    for name in ("campus-a", "village-a", "downtown-a"):
        assert name in text
    assert text.count("data:image/webp;base64,") == 6
    assert {"measured", "simulated", "modelled"} <= set(re.findall(r'class="label"[^>]*>(\w+)<', text))


def test_the_plots_lie_beside_the_page(written):
    assert {p.name for p in (written / "plots").iterdir()} == {
        "terminal-campus-a.svg", "terminal-village-a.svg", "terminal-downtown-a.svg",
        "teacher.svg", "upkeep.svg", "tasks.svg", "delay.svg", "predicted-time.svg", "predicted-memory.svg",
        "trigger.svg",
    }  # fmt: skip
    with Image.open(written / "overview.png") as picture:
        assert picture.width == 2048
    assert not list(written.rglob("*.tmp"))


def test_equal_runs_give_equal_pages(written, run_dir):
    assert write_report(run_dir).read_text() == (written / "report.html").read_text()


@pytest.mark.parametrize(
    ("terminals", "windows", "complete", "pictures"),
    [
        (1, 1, True, False),
        (5, 3, False, True),
        (2, 1, False, False),
        pytest.param(12, 30, True, False, marks=pytest.mark.slow),
        pytest.param(30, 1, True, False, marks=pytest.mark.slow),
    ],
)
def test_runs_of_any_size(tmp_path, terminals, windows, complete, pictures):
    run_dir = fake_run(tmp_path, terminals=terminals, windows=windows, complete=complete, pictures=pictures)
    page = write_report(run_dir)
    read_page(page)
    assert ("unfinished" in page.read_text()) is not complete
    assert page.stat().st_size < 3e6


@pytest.mark.parametrize(
    ("status", "ended", "state", "said"),
    [
        ("failed", "task w0/label/a: no space left", "failed", "The run failed: task w0/label/a: no space left."),
        ("stopped", "stopped by SIGTERM after 3 tasks; go on with `x`", "stopped", "stopped by SIGTERM after 3 tasks"),
        ("running", "", "killed", "no process writes it any more"),
    ],
)
def test_a_run_that_did_not_end_says_why_and_how_to_go_on(tmp_path, status, ended, state, said):
    run_dir = fake_run(tmp_path / "run", terminals=1, windows=1, complete=False, pictures=False)
    path = run_dir / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": status, "ended": ended}))
    text = read_page(write_report(run_dir)).text
    assert f"unfinished: {state}" in text
    assert said in text
    assert (f"`nestevo-hw evolve --resume {run_dir}`" in text) == (status != "stopped")


def test_a_run_that_is_still_written_is_not_called_killed(tmp_path):
    run_dir = fake_run(tmp_path / "run", terminals=1, windows=1, complete=False, pictures=False)
    with one_writer(run_dir):
        assert "The run is still going." in read_page(write_report(run_dir)).text
    assert "it was killed" in read_page(write_report(run_dir)).text


def test_what_is_truly_there_stands_beside_what_models_see(run_dir):
    without = read_page(write_report(run_dir))
    for name in ("campus-a", "village-a", "downtown-a"):
        picture = run_dir / "samples" / f"w1-{name}-after.png"
        (run_dir / "samples" / f"w1-{name}-truth.png").write_bytes(picture.read_bytes())
    page = read_page(write_report(run_dir))
    assert (without.tags.count("img"), page.tags.count("img")) == (6, 9)
    assert page.tags.count("input") == 9  # each can be enlarged, by mouse and by key, without a script


def test_the_worst_figures_stand_in_the_tiles(tmp_path):
    run_dir = fake_run(tmp_path / "run", terminals=2, windows=1, pictures=False)
    with (run_dir / "metrics.jsonl").open("a") as file:
        for terminal, chosen in (("campus-a", "evolved"), ("village-a", "old")):
            line = {"event": "select", "window": 0, "terminal": terminal, "chosen": chosen, "scores": {}, "frames": 9}
            file.write(json.dumps(line) + "\n")
    text = write_report(run_dir).read_text()
    assert re.search(r"Evolved models deployed.*?value bad\">1 of 2<", text, re.DOTALL)
    assert "0 BatchNorm-adapted, 1 old ones kept" in text
    assert "pill bad" in text
    assert "so its figures have no interval" in " ".join(text.split())


def test_a_run_that_has_only_begun(tmp_path):
    header = {"format": 2, "status": "running", "method": "NestEvo"}
    (tmp_path / "run.json").write_text(json.dumps(header))
    page = write_report(tmp_path)
    read_page(page)
    assert "The first evolution is under way" in page.read_text()


@pytest.mark.parametrize("script", [[], None, [{"window": 7, "kind": "fog", "strength": 0.5}]])
def test_terminals_without_a_change_of_conditions(run_dir, script):
    path = run_dir / "run.json"
    header = json.loads(path.read_text())
    for terminal in header["config"]["terminals"]:
        terminal["drift"] = script
    path.write_text(json.dumps(header))
    text = write_report(run_dir).read_text()
    assert ">night 0.7<" not in text
    assert ">fog 0.5<" not in text


def test_conditions_are_named(written):
    text = (written / "report.html").read_text()
    assert ">night 0.7<" in text
    assert ">fog 0.9<" in text


def test_odd_values(run_dir):
    path = run_dir / "metrics.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for index, event in enumerate(events):
        for key, value in event.items():
            if isinstance(value, float) and index % 3 != 2:
                event[key] = None
    path.write_text("".join(json.dumps(e) + "\n" for e in events))
    page = write_report(run_dir)
    read_page(page)
    assert not re.search(r">[^<]*\bnan\b", page.read_text())


def test_names_are_escaped(tmp_path):
    run_dir = fake_run(tmp_path, terminals=1, pictures=False)
    for name in ("run.json", "metrics.jsonl"):
        path = run_dir / name
        path.write_text(path.read_text().replace("campus-a", "<b>&'x"))
    page = write_report(run_dir)
    read_page(page)
    assert "<b>&'x" not in page.read_text()
    assert "&lt;b&gt;&amp;" in page.read_text()


@pytest.mark.parametrize("side", [0, 10_000, 20_000])
def test_a_corrupt_picture_is_named(run_dir, side):
    """Also one that claims more pixels than memory holds, in a header and no more."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    claim = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (run_dir / "samples" / "w1-campus-a-after.png").write_bytes(claim if side else b"no picture")
    with pytest.raises(InputError, match=r"w1-campus-a-after\.png is not a readable picture"):
        write_report(run_dir)
