"""The shipped chip files: complete, sourced, and consistent with the totals their authors publish."""

import dataclasses
from pathlib import Path

import pytest

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.crossbar.chips import CHIPS
from nestevo_hw.crossbar.chips.chip import Chip
from nestevo_hw.crossbar.chips.chip_file import chip_text, load_chip, load_reference

WORDS = {
    "name", "title", "memory", "device", "encoding", "mode", "default_mode", "mode_note", "others", "notes", "figures",
}  # fmt: skip


@pytest.mark.parametrize("name", CHIPS)
def test_every_number_has_a_source_and_a_kind(name: str) -> None:
    for chip in (load_chip(name), *load_chip(name).others):
        assert chip.name == name
        for entry in dataclasses.fields(Chip):
            value = getattr(chip, entry.name)
            if entry.name in WORDS or value is None or (entry.name, value) == ("sum_columns", 0):
                continue
            figure = chip.figures[entry.name]
            assert figure.value == value
            assert figure.source or figure.kind in ("assumption", "derived")
            assert figure.note or figure.kind in ("silicon", "design study")


def test_the_published_chips_are_there() -> None:
    assert set(CHIPS) >= {"isaac", "puma", "hermes", "neurram", "generic"}


@pytest.mark.parametrize("name", ["isaac", "hermes", "neurram", "generic"])
def test_peak_follows_from_geometry_and_cycle(name: str) -> None:
    for chip in (load_chip(name), *load_chip(name).others):
        weights = chip.arrays_per_chip * chip.weight_rows * chip.weight_columns
        assert 2 * weights / chip.product_s / 1e12 == pytest.approx(chip.peak_tops, rel=2e-3)


def test_hermes_is_read_in_four_phases_unless_asked() -> None:
    four, one = load_chip("hermes"), load_chip("hermes", "one-phase")
    assert load_chip("hermes", "four-phase") == four
    assert (four.mode, one.mode, four.default_mode, one.default_mode) == (
        "four-phase",
        "one-phase",
        *["four-phase"] * 2,
    )
    assert (four.peak_tops, four.peak_tops_per_w) == (16.1, 2.48)  # Le Gallo et al. 2023, abstract
    assert (one.peak_tops, one.peak_tops_per_w) == (63.1, 9.76)
    # 64 cores of 256 x 256 weights, two operations each: seconds and picojoules of a product of one core.
    operations = 256 * 256 * 2
    assert four.product_s == pytest.approx(64 * operations / 16.1e12, rel=1e-3)
    assert one.product_s == pytest.approx(64 * operations / 63.1e12, rel=1e-3)
    assert four.input_cycles * four.array_energy_pj == pytest.approx(operations / 2.48, rel=1e-3)
    assert one.input_cycles * one.array_energy_pj == pytest.approx(operations / 9.76, rel=1e-3)
    assert [other.mode for other in four.others] == ["one-phase"]
    assert [other.mode for other in one.others] == ["four-phase"]
    for name, mode, message in (
        ("hermes", "two-phase", "no reading mode 'two-phase'; choose from four-phase, one-phase"),
        ("isaac", "one-phase", "no reading mode 'one-phase'; it has only one"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_chip(name, mode)


def test_isaacs_encoding_saves_the_ninth_bit_of_its_converters() -> None:
    isaac = load_chip("isaac")
    assert (isaac.encoding, isaac.input_cycles, isaac.input_bits) == ("offset", 16, 16)
    assert (isaac.weight_bits, isaac.cell_bits, isaac.columns_per_weight) == (16, 2, 16 // 2)
    largest = isaac.array_rows * (2**isaac.cell_bits - 1)  # of a column's sum in one cycle of one-bit inputs
    assert largest.bit_length() == 9
    # A column is stored as 3 - w where its weights add up to more than half: no sum exceeds half of the largest.
    assert (largest // 2).bit_length() == isaac.adc_bits == 8
    assert isaac.sum_columns == 1


def test_pumas_published_peak_is_more_than_its_own_product_time_allows() -> None:
    chip = load_chip("puma")
    weights = chip.arrays_per_chip * chip.weight_rows * chip.weight_columns
    assert 2 * weights / chip.product_s / 1e12 == pytest.approx(31.4, abs=0.05)  # as its notes say
    assert weights * 2 / 2**20 == pytest.approx(69, abs=0.01)  # MiB of 16-bit weights, as published
    assert chip.product_s == pytest.approx(2304e-9)
    assert chip.array_energy_pj * chip.input_cycles == pytest.approx(43_970, rel=1e-3)


@pytest.mark.parametrize("name", CHIPS)
def test_power_is_peak_over_efficiency(name: str) -> None:
    chip = load_chip(name)
    assert chip.peak_tops / chip.peak_tops_per_w == pytest.approx(chip.chip_power_w, rel=0.01)


def test_isaac_is_the_chip_of_its_table() -> None:
    isaac = load_chip("isaac")
    assert isaac.arrays_per_chip == 168 * 12 * 8
    assert isaac.cycle_s == pytest.approx(100e-9)
    assert 129 * isaac.adc_ns == pytest.approx(isaac.array_read_ns, rel=1e-5)  # the ADC is as fast as the array
    assert (isaac.weight_rows, isaac.weight_columns) == (128, 16)
    # Energies of the parts at full use against the table's power of all IMAs, 168 x 289 mW.
    a_column = isaac.adc_energy_pj + isaac.dac_energy_pj + isaac.accumulate_energy_pj
    watts = isaac.arrays_per_chip * (isaac.array_energy_pj + 129 * a_column) * 1e-12 / isaac.cycle_s
    assert watts == pytest.approx(168 * 0.289, rel=0.03)


@pytest.mark.parametrize("name", ["neurram", "generic"])
def test_published_efficiency_follows_from_the_parts(name: str) -> None:
    chip = load_chip(name)
    adc, dac, accumulate = (part or 0.0 for part in (chip.adc_energy_pj, chip.dac_energy_pj, chip.accumulate_energy_pj))
    product = chip.array_energy_pj + chip.array_columns * (adc + accumulate) + chip.array_rows * dac
    operations = 2 * chip.weight_rows * chip.weight_columns
    assert operations / product == pytest.approx(chip.peak_tops_per_w, rel=0.01)


def test_arrays_of_a_matrix() -> None:
    isaac, neurram = load_chip("isaac"), load_chip("neurram")
    assert isaac.arrays(128, 16) == 1
    assert isaac.arrays(129, 17) == 4
    assert isaac.arrays(147, 64) == 2 * 4  # the stem of a ResNet
    assert neurram.arrays(128, 256) == 1  # two rows a weight
    assert neurram.arrays(256, 256) == 2


def test_slow_converters_set_the_cycle() -> None:
    chip = dataclasses.replace(load_chip("isaac"), adcs_per_array=1, adc_ns=2.0)
    assert chip.cycle_s == pytest.approx(129 * 2e-9)  # the unit column too
    assert dataclasses.replace(chip, adcs_per_array=4).cycle_s == pytest.approx(100e-9)


def test_reference_is_the_papers_measurement() -> None:
    gpu = load_reference()
    assert gpu.load_s + 1200 * gpu.frame_s == pytest.approx(143.7)


def edited(tmp_path: Path, old: str, new: str) -> str:
    text = chip_text("generic")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    chip = load_chip(edited(tmp_path, "array_rows = { value = 256", "array_rows = { value = 512"))
    assert (chip.array_rows, chip.weight_rows) == (512, 512)


ROWS = 'array_rows = { value = 256, kind = "assumption", source = "hermes", note = "as HERMES and NeuRRAM" }'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ROWS, "", "array_rows is missing"),
        (ROWS, "rows = { value = 1 }\n" + ROWS, "unknown key 'rows'"),
        ('name = "generic"', 'name = "generic"\ncolour = "red"', "unknown key 'colour'"),
        ('name = "generic"', "", "name is missing"),
        ('name = "generic"', "name = 3", "name: need a text, got 3"),
        (
            "array_rows = { value = 256",
            "array_rows = { value = -256",
            "array_rows: need a number above 0 and up to 1000000000, got -256",
        ),
        (
            "array_rows = { value = 256",
            "array_rows = { value = 0",
            "array_rows: need a number above 0 and up to 1000000000, got 0",
        ),
        ("array_rows = { value = 256", f"array_rows = {{ value = {10**400}", "got a number of more than 20 digits"),
        (
            "array_rows = { value = 256",
            "array_rows = { value = nan",
            "array_rows: need a number above 0 and up to 1000000000, got nan",
        ),
        ("array_rows = { value = 256", "array_rows = { value = 2.5", "array_rows: need a whole number, got 2.5"),
        ("array_rows = { value = 256", "array_rows = { value = true", "array_rows: need { value = NUMBER"),
        ("array_rows = { value = 256", "array_rows = { size = 256", "array_rows: unknown key 'size'"),
        ("array_rows = { value = 256, ", "array_rows = { ", "array_rows: value is missing"),
        (ROWS, "array_rows = 256", "array_rows: need { value = NUMBER"),
        (ROWS, 'array_rows = { value = 256, kind = "guess", note = "x" }', "array_rows: need a kind of silicon"),
        (ROWS, 'array_rows = { value = 256, kind = "silicon" }', "array_rows: a silicon figure needs a source"),
        (ROWS, 'array_rows = { value = 256, kind = "derived" }', "array_rows: say in note how it was derived"),
        (ROWS, 'array_rows = { value = 256, kind = "silicon", source = "x" }', "source 'x' is not a key of [sources]"),
        ("columns_per_weight = { value = 2", "columns_per_weight = { value = 300", "does not fit into an array"),
        ("program_rounds = { value = 30", "program_rounds = { value = 3", "need program_rounds of program_pulses"),
        ("arrays_in_parallel = { value = 16", "arrays_in_parallel = { value = 999", "at most arrays_per_chip = 512"),
        ("[figures]", "[figures", "not valid TOML"),
        ('encoding = "pairs"', 'encoding = "twos"', "encoding: need pairs or offset, got 'twos'"),
        ("unused_share = { value = 1", "unused_share = { value = 2", "unused_share: need a number from 0 to 1, got 2"),
        ('name = "generic"', 'name = "generic"\nweight_bits = 3', "unknown key 'weight_bits'"),
        (
            ROWS,
            ROWS + '\nweight_bits = { value = 8, kind = "assumption", note = "x" }',
            "both weight_bits and cell_bits",
        ),
        ("[figures]", "[modes]\n[figures]\nsum = 1", "unknown key 'sum'"),
        (
            'name = "generic"',
            'name = "generic"\nmode = "fast"',
            "mode: need the default of the reading modes [modes.NAME]",
        ),
        ("[figures]", '[modes.fast]\nnote = "x"\n[figures]', "mode: need the default"),
        ("[sources]", 'mode = "fast"\n[modes.fast]\n[sources]', "modes: fast: say in note"),
        ("[figures]", "[numbers]", "unknown key 'numbers'"),
    ],
)
def test_a_bad_file_gives_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(ConfigError) as caught:
        load_chip(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", ["sources", "figures"])
def test_a_section_that_is_no_table(tmp_path: Path, section: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "x"\n{section} = 3\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{section}: need a table"):
        load_chip(str(path))


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="unknown chip 'isac'; choose from generic, hermes"):
        load_chip("isac")
    with pytest.raises(ConfigError, match="rtx-3080 is no crossbar chip"):
        load_chip("rtx-3080")
    with pytest.raises(InputError, match=r"no file mine\.toml"):
        load_chip("mine.toml")


def test_the_page_on_costs_shows_the_figures_as_they_are() -> None:
    letters = {"silicon": "s", "design study": "d", "derived": "=", "assumption": "a"}
    page = (Path(__file__).parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
    chips = [chip for name in CHIPS for chip in (load_chip(name), *load_chip(name).others)]
    for entry in dataclasses.fields(Chip):
        if entry.name not in WORDS:
            found = [chip.figures.get(entry.name) for chip in chips]
            none = "in arrays" if entry.name.endswith("_energy_pj") else "-"
            cells = [none if figure is None else f"{figure.value:g} {letters[figure.kind]}" for figure in found]
            assert f"| `{entry.name}` | {' | '.join(cells)} |" in page
