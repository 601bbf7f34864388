"""Law 14 for sound: one content in every lossless format gives one waveform; everything else is one
sentence.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from attacks.errors import BadInput
from harness.tasks.files.sounds import read_sound, sound_length

RATE = 8_000
WAVE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(1_600) / RATE)
STEPS = {
    "PCM_S8": 2**-7,
    "PCM_U8": 2**-7,
    "PCM_16": 2**-15,
    "PCM_24": 2**-23,
    "PCM_32": 2**-31,
    "FLOAT": 2**-24,
    "DOUBLE": 2**-53,
}
FORMATS = ("WAV", "WAVEX", "RF64", "AIFF", "AU", "FLAC")
WRITTEN = [
    (container, encoding, order)
    for container in FORMATS
    for encoding in STEPS
    for order in ("FILE", "LITTLE", "BIG")
    if soundfile.check_format(container, encoding, order)
]
LOSSY = [("WAV", encoding) for encoding in ("ALAW", "ULAW", "IMA_ADPCM", "GSM610")]
LOSSY += [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def written(
    folder: Path, wave: np.ndarray = WAVE, rate: int = RATE, container: str = "WAV", encoding: str = "PCM_16"
) -> Path:
    path = folder / "any name.wav"
    soundfile.write(path, wave, rate, encoding, format=container)
    return path


@pytest.mark.parametrize(("container", "encoding", "order"), WRITTEN)
def test_one_content_is_one_waveform(container: str, encoding: str, order: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, WAVE, RATE, encoding, order, container)
    read = read_sound(path, RATE)
    assert read.shape == WAVE.shape and read.dtype == np.float32
    assert np.abs(read - WAVE).max() <= STEPS[encoding] + 2**-24


ENDS = {"PCM_16": (-1, 1 - 2**-15), "PCM_U8": (-1, 1 - 2**-7), "FLOAT": (-1, 1), "DOUBLE": (-1, 1)}


@pytest.mark.parametrize(("encoding", "ends"), ENDS.items())
def test_full_scale_is_one(encoding: str, ends: tuple[float, float], tmp_path: Path) -> None:
    read = read_sound(written(tmp_path, np.array([-1.0, 1.0, 0.0, 0.0]), encoding=encoding), RATE)
    assert read.tolist() == [*ends, 0, 0]


@pytest.mark.parametrize(("container", "encoding"), LOSSY)
def test_what_loses_samples_is_refused(container: str, encoding: str, tmp_path: Path) -> None:
    if not soundfile.check_format(container, encoding):
        pytest.skip("this libsndfile does not write it")
    with pytest.raises(BadInput, match=f"any name.wav holds {encoding} in {container}, .*: convert the original"):
        read_sound(written(tmp_path, container=container, encoding=encoding), RATE)


@pytest.mark.parametrize("container", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_what_was_cut_off_is_no_shorter_clip(container: str, share: float, tmp_path: Path) -> None:
    path = written(tmp_path, container=container)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadInput, match=r"any name\.wav (announces|cannot be read)"):
        read_sound(path, RATE)


@pytest.mark.parametrize("container", FORMATS)
@pytest.mark.parametrize("lost", [1, 200])
def test_what_lost_its_middle_is_no_shorter_clip(container: str, lost: int, tmp_path: Path) -> None:
    path = written(tmp_path, container=container)
    content, half = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(content[:half] + content[half + lost :])
    with pytest.raises(BadInput, match=r"any name\.wav (announces|cannot be read)"):
        read_sound(path, RATE)


def resized(size: int) -> Callable[[bytes], bytes]:
    """Another size of the sound in the header: ffmpeg writes 2³² - 1 to a pipe."""

    def change(content: bytes) -> bytes:
        at = content.index(b"data") + 4
        return content[:at] + struct.pack("<I", size) + content[at + 4 :]

    return change


CHANGED: dict[str, Callable[[bytes], bytes]] = {
    "announces 2.14748e\\+09 samples and holds 1600: it was cut off, or written to a pipe": resized(2**32 - 1),
    "holds 3200 bytes behind its chunks": resized(0),
    "holds 1200 bytes behind": resized(2_000),
    "holds 12 bytes behind": lambda content: content + b"some garbage",
    "cannot be read": lambda content: content[:20],
    "cannot be read: .*Format not recognised.*fetch it again": lambda content: b"<html>404</html>",
    "cannot be read: .*; fetch it again": lambda content: b"",
}


@pytest.mark.parametrize("said", CHANGED)
def test_a_header_that_is_wrong_is_one_sentence(said: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(CHANGED[said](path.read_bytes()))
    with pytest.raises(BadInput, match=f"any name.wav.*{said}"):
        read_sound(path, RATE)


def test_other_chunks_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path)
    content, chunk = path.read_bytes(), b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    at = content.index(b"data")
    path.write_bytes(content[:at] + chunk + content[at:] + chunk)
    assert np.array_equal(read_sound(path, RATE), read_sound(written(tmp_path), RATE))


REFUSED = {
    "has 44100 Hz, 1 channels and 1600 samples, expected 8000 Hz": {"rate": 44_100},
    "has 8000 Hz, 2 channels": {"wave": np.stack([WAVE, WAVE], 1)},
    "has 8000 Hz, 1 channels and 0 samples": {"wave": np.zeros(0)},
    "reaches 16384, beyond full scale, which is 1 for real numbers: divide": {
        "wave": WAVE * 32_768,
        "encoding": "FLOAT",
    },
    "reaches 1.00001, beyond full scale": {"wave": np.array([1.00001, 0]), "encoding": "DOUBLE"},
    "holds 1 samples that are NaN or infinite": {"wave": np.array([np.nan, 0]), "encoding": "FLOAT"},
    "holds 2 samples that are NaN or infinite": {"wave": np.array([np.inf, -np.inf]), "encoding": "DOUBLE"},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_clip_of_the_task_is_one_sentence(said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"any name.wav {said}"):
        read_sound(written(tmp_path, **REFUSED[said]), RATE)  # type: ignore[arg-type]


def test_a_length_is_that_of_the_header(tmp_path: Path) -> None:
    for container, encoding in (("WAV", "PCM_16"), ("FLAC", "PCM_24")):
        path = written(tmp_path, container=container, encoding=encoding)
        assert sound_length(path, RATE) == len(WAVE) == len(read_sound(path, RATE))
    with pytest.raises(BadInput, match=r"any name.wav has 44100 Hz, 1 channels and 1600 samples, expected 8000 Hz"):
        sound_length(written(tmp_path, rate=44_100), RATE)
    with pytest.raises(BadInput, match=r"any name.wav holds ULAW in WAV, which loses samples"):
        sound_length(written(tmp_path, encoding="ULAW"), RATE)
    (tmp_path / "none.wav").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"none.wav cannot be read: .*; fetch it again"):
        sound_length(tmp_path / "none.wav", RATE)
