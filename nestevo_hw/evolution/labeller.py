"""A detector of the user's own, as ONNX, in place of a teacher of the terminals' kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nestevo_hw.base.errors import ConfigError, InputError, MissingFileError
from nestevo_hw.base.files import read_text
from nestevo_hw.models.onnx.foreign.adapter import Adapter, load_adapter, parse_adapter
from nestevo_hw.models.onnx.foreign.labeller import Labeller, open_labeller
from nestevo_hw.models.onnx.manifest import sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellerConfig:
    """Which detector labels, and what its classes are called here (docs/label.md)."""

    file: str
    """ONNX file."""
    adapter: str = "nanodet"
    """What goes in and what comes out: a name (docs/label.md), or a .toml file of your own."""
    class_map: Mapping[str, str] = field(default_factory=dict)
    """Its classes to the terminals', several to one if you like; unnamed ones are left out. Empty: as the adapter has
    it, and by name."""
    adapter_text: str | None = None
    """Content of the adapter's file when the run started; leave it out, it is filled in and recorded with the run."""
    sha256: str | None = None
    """Of the ONNX file when the run started; leave it out, it is filled in and recorded with the run."""

    def recorded(self) -> "LabellerConfig":
        """The same with what its files are now, unless that has been recorded before.

        Raises:
            InputError: one of them cannot be read.
        """
        text, digest = self.adapter_text, self.sha256
        if text is None and self._own_adapter:
            text = read_text(Path(self.adapter), advice="correct teacher.labeller.adapter")
        if digest is None:
            path = Path(self.file)
            if not path.is_file():
                raise MissingFileError(f"teacher.labeller.file: no ONNX file {path}; correct the path")
            digest = sha256(path)
        return replace(self, adapter_text=text, sha256=digest)

    @property
    def warnings(self) -> list[str]:
        """What has changed since it was recorded, a line each."""
        found, path, own = [], Path(self.file), Path(self.adapter)
        if self.sha256 is not None and path.is_file() and sha256(path) != self.sha256:
            found.append(f"{path} has changed since this run started; what it labels from now on may differ")
        if self._own_adapter and own.is_file() and read_text(own) != self.adapter_text:
            found.append(f"{own} has changed since this run started; the run goes on with the adapter as recorded")
        return found

    def open(self, *, layered: bool) -> Labeller:
        """The detector, ready to label.

        Args:
            layered: so that its layers can go onto the crossbar; else ONNX Runtime computes it.

        Raises:
            ConfigError, InputError: as `open_labeller`, with the key.
        """
        try:
            return open_labeller(Path(self.file), self._read_adapter(), told=self.adapter, layered=layered)
        except (ConfigError, InputError) as error:
            raise type(error)(f"teacher.labeller: {error}") from error

    @property
    def _own_adapter(self) -> bool:
        return self.adapter.endswith(".toml")

    def _read_adapter(self) -> Adapter:
        text = self.adapter_text
        adapter = load_adapter(self.adapter) if text is None else parse_adapter(text, self.adapter)
        return replace(adapter, class_map=dict(self.class_map) or adapter.class_map)


def check_classes(config: LabellerConfig, labeller: Labeller, known: tuple[str, ...]) -> None:
    """Every class that the terminals know is labelled, and no other is asked for.

    Raises:
        ConfigError: with the classes.
    """
    unknown = [name for name in config.class_map.values() if name not in known]
    if unknown:
        raise ConfigError(
            f"teacher.labeller.class_map: the terminals know no {unknown[0]!r}, but {', '.join(known)}; correct it"
        )
    missing = [name for name in known if name not in labeller.classes]
    if missing:
        raise ConfigError(
            f"teacher.labeller.class_map: nothing is labelled {missing[0]!r}, so that terminals, which know "
            f"{', '.join(known)}, would unlearn it; map a class of the labeller to it, or use models without it "
            "(`nestevo-hw pretrain --class-map`)"
        )
