import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ssl_audio.encoder import AudioEncoder, PatchedAudio
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.masking import MaskingConfig, draw_masks
from ssl_audio.objectives.decoders import (
    ConvolutionDecoder,
    ConvolutionDecoderConfig,
    TransformerDecoder,
    TransformerDecoderConfig,
)
from ssl_audio.patches import Grid, grid_positions
from ssl_audio.transformer import attention_bias
from tests.ssl_audio.objectives.conftest import list_predicted

CONFIG = ConvolutionDecoderConfig(dim=8, layers=2, kernel_size=3, groups=2)
ONE_ROW, FOUR_ROWS = (64, 4), (16, 16)


def slow_layers(decoder: ConvolutionDecoder, tokens: Tensor, grid: Grid, columns: int) -> Tensor:
    """One clip of so many columns: place by place, channel by channel, neighbour by neighbour."""
    for layer in decoder.blocks:
        weight, bias = layer.convolution.weight, layer.convolution.bias
        assert bias is not None
        channels, of_group, rows, width = weight.shape
        heard = torch.zeros_like(tokens)
        for row in range(grid.freq_patches):
            for column in range(columns):
                values = []
                for channel in range(channels):
                    first = channel // (channels // 2) * of_group  # of two groups
                    total = float(bias[channel])
                    for i in range(rows):
                        for j in range(width):
                            r, c = row + i - rows // 2, column + j - width // 2
                            if 0 <= r < grid.freq_patches and 0 <= c < columns:
                                near = tokens[r * grid.time_patches + c, first : first + of_group]
                                total += float(weight[channel, :, i, j] @ near)
                    values.append(total)
                mean = sum(values) / channels
                variance = sum((value - mean) ** 2 for value in values) / channels
                normed = [(value - mean) / math.sqrt(variance + 1e-5) for value in values]
                place = row * grid.time_patches + column
                for channel, value in enumerate(normed):
                    gelu = value * 0.5 * (1 + math.erf(value / math.sqrt(2)))
                    heard[place, channel] = tokens[place, channel] + gelu
        tokens = heard
    return tokens


@pytest.mark.parametrize("patch_size", [ONE_ROW, FOUR_ROWS])
def test_convolutions_equal_the_slow_definition(patch_size: tuple[int, int]) -> None:
    """What lies beyond the end of the shorter clip is not heard, however long the batch."""
    torch.manual_seed(0)
    shape = AudioEncoderConfig(hidden_size=24, num_hidden_layers=1, patch_size=patch_size)
    decoder = ConvolutionDecoder(shape, CONFIG, target_dim=5).eval()
    grid = Grid(64 // patch_size[0], 5)
    sizes = [tuple(block.convolution.weight.shape) for block in decoder.blocks]
    assert sizes == [(8, 4, 1 if grid.freq_patches == 1 else 3, 3)] * 2
    tokens = torch.randn(2, grid.num_patches, CONFIG.dim)
    columns = torch.tensor([5, 3])
    padding = (torch.arange(5) >= columns[:, None]).repeat(1, grid.freq_patches)
    audio = PatchedAudio(torch.zeros(2, grid.num_patches, 1), padding, grid)
    with torch.no_grad():
        mixed = decoder.mix(tokens, audio)
        for clip in range(2):
            expected = slow_layers(decoder, tokens[clip], grid, int(columns[clip]))
            valid = ~padding[clip]
            torch.testing.assert_close(mixed[clip][valid], expected[valid], atol=1e-5, rtol=1e-4)


def test_a_hidden_place_begins_as_the_mask_token_wherever_it_is() -> None:
    """With nothing heard from neighbours, answers at hidden places differ by position alone."""
    shape = AudioEncoderConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2)
    encoder = AudioEncoder(shape).eval()
    decoder = ConvolutionDecoder(shape, CONFIG, target_dim=5).eval()
    for layer in decoder.blocks:
        torch.nn.init.zeros_(layer.convolution.weight)
    audio = encoder.patch_audio(0.1 * torch.randn(2, 16_000))
    masked = draw_masks(
        torch.tensor([1, 2]), MaskingConfig(mask_ratio=0.5), audio.grid, audio.padding_mask
    )
    with torch.no_grad():
        visible = encoder.encode(audio, masked).last_hidden_state
        answers = decoder(visible, masked, audio)
        seen = decoder(visible, replace(masked, ids_predict=masked.ids_keep), audio)
    for ids, told, equal in ((masked.ids_predict, answers, True), (masked.ids_keep, seen, False)):
        columns = [{patch: column for column, patch in enumerate(row)} for row in ids.tolist()]
        both = columns[0].keys() & columns[1].keys()
        assert both
        for patch in both:
            first, second = (told[row][columns[row][patch]] for row in range(2))
            assert torch.equal(first, second) if equal else not torch.isclose(first, second).all()


def test_blocks_hear_visible_places_and_those_that_are_predicted() -> None:
    """As if all places stood in the grid's order and those that are not there were padding."""
    torch.manual_seed(0)
    shape = AudioEncoderConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2)
    config = TransformerDecoderConfig(dim=16, layers=2, heads=2)
    decoder = TransformerDecoder(shape, config, target_dim=5).eval()
    audio = PatchedAudio(
        torch.zeros(3, 30, 1), torch.arange(30) >= torch.tensor([30, 17, 1])[:, None], Grid(1, 30)
    )
    keys = torch.arange(3)
    for ratio in (1.0, 0.4):
        masking = MaskingConfig(mask_ratio=0.6, prediction_ratio=ratio)
        masked = draw_masks(keys, masking, audio.grid, audio.padding_mask)
        visible = torch.randn(3, masked.ids_keep.shape[1], 24)
        with torch.no_grad():
            answers = decoder(visible, masked, audio)
            for row in range(3):
                there = torch.zeros(30, dtype=torch.bool)
                tokens = decoder.mask_token.repeat(30, 1)
                for column, patch in enumerate(masked.ids_keep[row].tolist()):
                    if not masked.keep_padding_mask[row, column]:
                        tokens[patch], there[patch] = decoder.embedding(visible[row, column]), True
                predicted = list_predicted(masked, row)
                there[[patch for _, patch in predicted]] = True
                mixed = (tokens + grid_positions(audio.grid, 16, keys.device))[None]
                for block in decoder.blocks:
                    mixed = block(mixed, attention_bias(~there[None], torch.float32))
                expected = decoder.prediction(decoder.norm(mixed[0]))
                for column, patch in predicted:
                    torch.testing.assert_close(
                        answers[row, column], expected[patch], atol=1e-5, rtol=1e-4
                    )
                assert len(predicted) == [[18, 10, 0], [7, 4, 0]][ratio < 1][row]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"dim": 20}, "multiple of 4 and of groups = 16"),
        ({"dim": 18, "groups": 2}, "multiple of 4"),
        ({"kernel_size": 4}, "odd"),
        ({"layers": 0}, "greater than 0"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvolutionDecoderConfig(**settings)
