"""A cluster, as its TOML file describes it."""

from __future__ import annotations

import os
from typing import Any, Optional, Union

from . import _abi
from ._errors import Error, UsageError
from ._lifecycle import Handle, not_to_be_pickled

Path = Union[str, "os.PathLike[str]"]


def path_bytes(path: Path) -> bytes:
    """A path as the operating system has it."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise UsageError(f"a path with a zero byte: {raw!r}")
    return raw


class Config:
    """A configuration. ``Config()`` has every default, no cluster id and no members.

    Keys are those of the file: ``config["timing.heartbeat_interval"] = "60ms"``, ``config["member.2.address"]``. Servers and
    clients keep what they need of it, so it may go at any time.
    """

    def __init__(self) -> None:
        self._adopt(_abi.handle_from(_abi.library().config_new))

    def _adopt(self, handle: int) -> None:
        self._handle = Handle(handle, "configuration")

    @classmethod
    def _of(cls, handle: int) -> Config:
        config = cls.__new__(cls)
        config._adopt(handle)
        return config

    @classmethod
    def load(cls, path: Path) -> Config:
        """Reads a file. All its errors are reported together, with their lines. NotFound if there is no such file."""
        return cls._of(_abi.handle_from(_abi.library().config_load_file, path_bytes(path)))

    @classmethod
    def parse(cls, text: str, path: Optional[Path] = None) -> Config:
        """The same of a text. The path stands in errors, and relative paths begin at its folder."""
        raw, where = text.encode(), None if path is None else path_bytes(path)
        return cls._of(_abi.handle_from(_abi.library().config_parse, raw, len(raw), where))

    @classmethod
    def generate(cls, members: int, data_dir: Path, port_first: int) -> Config:
        """Makes the configuration of a new cluster on this machine: a new cluster id, members 1 to `members` on 127.0.0.1 from
        port_first. It has to be kept, with ``write``, and loaded from then on; every member is formatted once."""
        if not 0 < port_first < 2**16 or not 0 < members < 2**16:
            raise UsageError(f"{members} members from port {port_first}: both must be from 1 to {2**16 - 1}")
        return cls._of(_abi.handle_from(_abi.library().config_generate, members, path_bytes(data_dir), port_first))

    def __getitem__(self, key: str) -> str:
        return _abi.text_from(_abi.library().config_value, self._handle.number, _abi.text(key, "a key"))

    def __setitem__(self, key: str, value: Union[str, int, bool]) -> None:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        raw = _abi.text(key, "a key"), _abi.text(text, f"the value of {key}")
        _abi.check(_abi.library().config_set(self._handle.number, *raw))

    @property
    def members(self) -> list[int]:
        """The ids of the members."""
        return _abi.member_ids(self._handle.number)

    def validate(self) -> None:
        """Finds what cannot work together, and names it all in a ConfigError."""
        _abi.check(_abi.library().config_validate(self._handle.number))

    def dump(self) -> str:
        """The whole configuration as TOML."""
        return _abi.text_from(_abi.library().config_dump, self._handle.number)

    def write(self, path: Path) -> None:
        """Writes it to a file. Exists if there is one: a cluster id is never overwritten."""
        _abi.check(_abi.library().config_write_file(self._handle.number, path_bytes(path)))

    @property
    def handle(self) -> int:
        """For the other files of this package."""
        return self._handle.number

    def close(self) -> None:
        """Releases it."""
        if not self._handle.closed:
            number, self._handle.closed = self._handle.number, True
            _abi.library().config_free(number)

    def __enter__(self) -> Config:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            try:
                self.close()
            except (Error, TypeError):  # TypeError: the interpreter ends and its modules are gone
                pass

    def __reduce__(self) -> Any:
        raise not_to_be_pickled(self, "send its dump() and parse that")


def as_config(config: Union[Config, Path]) -> Config:
    """What a user names a configuration by."""
    return config if isinstance(config, Config) else Config.load(config)


def format_joining(config: Union[Config, Path], server_id: int) -> None:
    """The same for a server that is to join a group that exists: as a new member, or in the place of one whose disk was lost. It
    founds nothing, whatever the configuration says, and waits until a change of the membership names it (``Client.add_voter``)."""
    loaded = as_config(config)
    _abi.check(_abi.library().server_format_joining(loaded.handle, _abi.whole(server_id, "server_id")))


def format(config: Union[Config, Path], server_id: int) -> None:  # as the library calls it
    """Makes the store of a member in its data directory: the explicit act by which a server comes to be, once. A founder that has lost its
    disk cannot take its old place with such a store, and its replacement is given up: ``format_joining`` is for that."""
    loaded = as_config(config)  # a name keeps it: its handle goes with it
    _abi.check(_abi.library().server_format(loaded.handle, _abi.whole(server_id, "server_id")))
