"""One vector per clip, as a table and as a map of the corpus."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ssl_audio.audit.sources import open_source
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import whole_clips
from ssl_audio.encoder import AudioEncoder
from ssl_audio.errors import UserError
from ssl_audio.loading import check_model_type, load_model
from ssl_audio.objectives.base import to_float
from ssl_audio.pictures import draw_map
from ssl_audio.progress import progress_bar

Embeddings = npt.NDArray[np.float32]
COLOURED_BY = ("emotion", "gender", "speaker")
MOST_ON_A_MAP = 4000


def embed(encoder: Path, source: Path, output: Path) -> list[Path]:
    """Writes ``output``, and maps of it beside it where labels are known.

    The table has the columns clip_id, path, speaker, gender, emotion and embedding.

    Args:
        encoder: folder of a pretrained one.
        source: a prepared corpus, a table of audio files or a folder of audio.
        output: parquet file.

    Returns:
        The files that were written.

    Raises:
        UserError: no encoder, no audio, or an output that is no parquet file.
    """
    if output.suffix.lower() != ".parquet":
        raise UserError(f"--output must be a .parquet file, got {output}")
    check_model_type(encoder, AudioEncoder.config_class.model_type, "python -m ssl_audio pretrain")
    model = load_model(AudioEncoder, encoder)
    with open_source(source, {}) as opened:
        if opened.corpus is None:
            raise UserError(f"{source} holds no audio: give a prepared corpus or a folder of audio")
        embeddings = embed_clips(model, opened.corpus)
        write_embeddings(opened.clips, embeddings, output)
        chosen = np.arange(0, len(embeddings), -(-len(embeddings) // MOST_ON_A_MAP))
        maps = _draw_maps([opened.clips[row] for row in chosen], embeddings[chosen], output)
    return [output, *maps]


@torch.no_grad()
def embed_clips(encoder: AudioEncoder, corpus: PreparedCorpus, batch_size: int = 16) -> Embeddings:
    """(clips, dim) float32 of every clip of a corpus, in its order; see ``AudioEncoder.embed``."""
    device = encoder.cls_token.device
    embeddings = np.zeros((len(corpus), encoder.config.hidden_size), np.float32)
    with progress_bar(len(corpus), "embed", "clip") as bar:
        for clips, waveform, num_samples in whole_clips(corpus, np.arange(len(corpus)), batch_size):
            vectors = encoder.embed(to_float(waveform.to(device)), num_samples.to(device))
            embeddings[clips] = vectors.cpu().numpy()
            bar.update(len(clips))
    return embeddings


def write_embeddings(clips: Sequence[Clip], embeddings: Embeddings, output: Path) -> None:
    """Writes one row per clip; a file that is there is replaced once the new one is whole."""
    columns = {
        name: pa.array([getattr(clip, name) for clip in clips], pa.string())
        for name in ("clip_id", "path", "speaker", "gender", "emotion")
    }
    size = embeddings.shape[1]
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), size)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.partial")
    pq.write_table(pa.table(columns), aside)
    aside.rename(output)


def project_to_plane(embeddings: Embeddings) -> Embeddings:
    """(clips, dim) to (clips, 2) by t-SNE with a fixed seed: near stays near, no more.

    Source: van der Maaten and Hinton 2008.
    """
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    tsne = TSNE(init="pca", perplexity=perplexity, random_state=0)
    plane: Embeddings = tsne.fit_transform(StandardScaler().fit_transform(embeddings))
    return plane


def _draw_maps(clips: Sequence[Clip], embeddings: Embeddings, output: Path) -> list[Path]:
    known = {
        name: values
        for name in COLOURED_BY
        if len(set(values := [getattr(clip, name) for clip in clips]) - {None}) > 1
    }
    if len(clips) < 4 or not known:
        return []
    plane = project_to_plane(embeddings)
    paths = [output.with_suffix(f".{name}.png") for name in known]
    for path, (name, values) in zip(paths, known.items(), strict=True):
        draw_map(plane, values, f"{len(clips)} clips by {name} (t-SNE)", path)
    return paths
