"""Tones as recordings: a class for each pitch."""

import wave
from pathlib import Path

import numpy as np

from dfedge.data.logmel import RATE

PITCH = {"high": 1700.0, "low": 350.0}


def tone(name: str, seed: int, samples: int = 4000) -> np.ndarray:
    """An utterance of a class, int16 [samples]."""
    rng = np.random.default_rng([seed, len(name)])
    hertz = PITCH[name] * rng.uniform(0.85, 1.15)
    swell = np.sin(np.pi * np.linspace(0, 1, samples)) ** 2
    sound = np.sin(2 * np.pi * hertz * np.arange(samples) / RATE + rng.random()) * swell
    return (rng.uniform(1000, 9000) * sound + rng.normal(0, 30, samples)).astype(np.int16)


def write_wav(
    path: Path, sound: np.ndarray, rate: int = RATE, channels: int = 1, bytes: int = 2
) -> Path:
    """A recording as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bytes)
        file.setframerate(rate)
        file.writeframes(sound.tobytes())
    return path


def folder_of_tones(folder: Path, each: int = 12) -> Path:
    """A folder CLASS/*.wav."""
    for name in PITCH:
        for number in range(each):
            write_wav(folder / name / f"{number}.wav", tone(name, number, 3000 + 300 * number))
    return folder
