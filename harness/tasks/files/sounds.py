"""Sound files as waveforms: the same samples in every lossless format, or one sentence why not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput

CONTAINERS = ("WAV", "WAVEX", "RF64", "AIFF", "AU", "FLAC")
BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
"""The encodings that keep every sample, and the bytes of one."""
FORMS = (b"RIFF", b"RIFX", b"RF64", b"FORM")
MEND = "convert the original to a 16-bit mono WAV"


def read_sound(path: Path, rate: int) -> NDArray[Any]:
    """The samples of a file with one channel, float32 (T,) in [-1, 1]: an integer is divided by its
    format's full scale.

    Lossy formats (Vorbis, MP3, ADPCM, A-law, ...) are refused: their samples depend on the encoder.

    Args:
        rate: the sample rate that is expected, in Hz.

    Raises:
        BadInput: the file is damaged, cut short or lossy, has another rate, several channels or no
            samples, or holds values that are NaN or beyond [-1, 1].
    """
    with _opened(path) as file:
        wave = file.read(dtype="float64", always_2d=True)
        announced = _announced(path, file)
    _check_kind(path, file, rate, len(wave))
    if len(wave) != announced:
        raise BadInput(
            f"{path} announces {announced:g} samples and holds {len(wave)}: it was cut off, or written to a pipe; fetch"
            f" it again or {MEND}"
        )
    return _within(path, wave[:, 0])


def sound_length(path: Path, rate: int) -> int:
    """The number of samples that a file with one channel announces; they are not read.

    Raises:
        BadInput: the file is damaged or lossy, has another rate, several channels or no samples.
    """
    with _opened(path) as file:
        _check_kind(path, file, rate, file.frames)
        return int(file.frames)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open file, of a format that keeps every sample; its errors are one sentence."""
    import soundfile  # only when recordings are read

    try:
        with soundfile.SoundFile(path) as file:
            _check_format(path, file)
            yield file
    except (soundfile.SoundFileError, OSError, LookupError, ValueError, struct.error, MemoryError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path} cannot be read: {error}; fetch it again") from None


def _check_format(path: Path, file: Any) -> None:
    if file.format not in CONTAINERS or file.subtype not in BYTES:
        raise BadInput(f"{path} holds {file.subtype} in {file.format}, which loses samples or is not supported: {MEND}")


def _check_kind(path: Path, file: Any, rate: int, count: int) -> None:
    if file.samplerate != rate or file.channels != 1 or not count:
        raise BadInput(
            f"{path} has {file.samplerate} Hz, {file.channels} channels and {count} samples, expected {rate} Hz,"
            f" one channel and some samples: {MEND} of {rate} Hz"
        )


def _within(path: Path, wave: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(wave).all():
        raise BadInput(f"{path} holds {int((~np.isfinite(wave)).sum())} samples that are NaN or infinite: {MEND}")
    if (peak := float(np.abs(wave).max())) > 1:
        raise BadInput(
            f"{path} reaches {peak:g}, beyond full scale, which is 1 for real numbers: divide it by its full scale, or"
            f" {MEND}"
        )
    return np.asarray(wave, np.float32)


def _announced(path: Path, file: Any) -> float:
    """The number of samples of each channel that the header announces; libsndfile accepts a file
    with fewer.
    """
    if file.format == "FLAC":
        return int(file.frames)
    with path.open("rb") as content:
        if file.format == "AU":
            order = ">" if content.read(4) == b".snd" else "<"
            return float(struct.unpack(f"{order}4xI", content.read(8))[0] / BYTES[file.subtype] / file.channels)
        chunks = dict(_chunks(path, content))
    if file.format == "AIFF":
        return int.from_bytes(chunks[b"COMM"][2:6])
    size = int.from_bytes(chunks[b"ds64"][8:16], "little") if b"ds64" in chunks else int.from_bytes(chunks[b"data"])
    return float(size / BYTES[file.subtype] / file.channels)


def _chunks(path: Path, content: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The names of a WAV's or AIFF's chunks, with the first bytes of each; for the sound chunk, its
    announced size instead.

    Raises:
        BadInput: the bytes behind the sound are not a chunk, so the sound may be longer than it
            announces.
    """
    order: Literal["big", "little"] = "big" if content.read(12)[:4] in (b"RIFX", b"FORM") else "little"
    end = path.stat().st_size
    while len(head := content.read(8)) == 8:
        name, size, here = head[:4], int.from_bytes(head[4:], order), content.tell()
        sound = name in (b"data", b"SSND")
        if not sound and (name in FORMS or here + size > end):
            raise BadInput(
                f"{path} holds {end - here + 8} bytes behind its chunks: files were joined, or the writer did not"
                " close it;"
                f" {MEND}"
            )
        yield name, size.to_bytes(8, "big") if sound else content.read(min(size, 32))
        content.seek(here + size + size % 2)
