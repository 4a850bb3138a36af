"""What differs from a fixed camera's background stands out, and streaks go."""

import pytest
import torch

from nestevo_hw.streams.background import MIN_FRAMES, amplify_foreground, stands_still

GREY, FAINT = 100, 120


def passing(frames=12, size=12):
    """A faint square that crosses a grey ground, and where it is in each frame."""
    images = torch.full((frames, 3, 64, 160), GREY, dtype=torch.uint8)
    where = torch.zeros((frames, 64, 160), dtype=torch.bool)
    for frame in range(frames):
        where[frame, 20 : 20 + size, 12 * frame : 12 * frame + size] = True
    images[where[:, None].expand_as(images)] = FAINT
    return images, where


def streaked(images, where):
    """Upright bright lines, one pixel wide, on a fiftieth of the columns, elsewhere in each frame."""
    random = torch.Generator().manual_seed(0)
    drops = (torch.rand(where.shape, generator=random) < 0.004).float()
    lines = torch.nn.functional.max_pool2d(torch.nn.functional.pad(drops, (0, 0, 8, 0))[:, None], (9, 1), 1)[:, 0] > 0
    return torch.where(lines[:, None], torch.tensor(220, dtype=torch.uint8), images), lines


def test_what_moves_has_twice_the_contrast_and_the_rest_stays():
    images, where = passing()
    out = amplify_foreground(images, factor=2.0, batch_size=5)
    assert out.dtype == torch.uint8
    assert set(out[where[:, None].expand_as(out)].tolist()) == {2 * FAINT - GREY}
    assert set(out[~where[:, None].expand_as(out)].tolist()) == {GREY}


def test_what_stands_still_stays_as_it_is():
    still = torch.randint(0, 256, (1, 3, 64, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    images = still.expand(MIN_FRAMES, -1, -1, -1)
    assert torch.equal(amplify_foreground(images, factor=3.0), images)


def test_a_brighter_frame_is_not_a_change():
    random = torch.Generator().manual_seed(2)
    still = torch.randint(20, 120, (1, 3, 64, 80), generator=random)
    images = (still * torch.tensor([2, 2, 2, 2, 2, 2, 2, 2, 1]).view(-1, 1, 1, 1)).to(torch.uint8)
    assert torch.equal(amplify_foreground(images, factor=2.0), images)


@pytest.mark.parametrize("turned", [False, True])
def test_streaks_go_and_objects_stay(turned):
    images, where = passing()
    rainy, lines = streaked(images, where)
    out = amplify_foreground(rainy.mT if turned else rainy, factor=1.0)
    out = out.mT if turned else out
    assert lines.float().mean() > 0.02
    # Lines side by side are wider than a streak and stay.
    left = (out[:, 0][lines & ~where] > GREY + 10).float().mean()
    assert left < 0.25
    assert (out[:, 0][where & ~lines] >= FAINT).all()


def test_noise_without_direction_is_no_streak():
    images, _ = passing()
    noise = torch.randint(-20, 21, images.shape, generator=torch.Generator().manual_seed(3))
    noisy = (images + noise).to(torch.uint8)
    assert torch.equal(amplify_foreground(noisy, factor=1.0), noisy)


def test_few_frames_tell_no_background():
    images, _ = passing(frames=MIN_FRAMES - 1)
    assert amplify_foreground(images, factor=2.0) is images


def street(frames=12, width=400, height=96, *, seed=4):
    """(N, 3, H, W) the same blocks again and again."""
    random = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (1, 3, height // 8, width // 8), generator=random).float()
    wide = torch.nn.functional.interpolate(blocks, size=(height, width)).to(torch.uint8)
    return wide.expand(frames, -1, -1, -1)


def panned(images, step, width=160):
    return torch.stack([image[:, :, i * step : i * step + width] for i, image in enumerate(images)])


@pytest.mark.parametrize("noise", [0, 60])
def test_a_fixed_camera_stands_still_in_noise_and_changing_light(noise):
    random = torch.Generator().manual_seed(5)
    still = panned(street(), 0).float() * torch.linspace(1.0, 0.3, 12).view(-1, 1, 1, 1)
    noisy = still + noise * torch.randn(still.shape, generator=random)
    assert stands_still(noisy.clamp(0, 255).to(torch.uint8))


def test_what_passes_before_a_fixed_camera_is_not_its_movement():
    images = panned(street(), 0).clone()
    for i, image in enumerate(images):
        image[:, 20:90, 20 * i : 20 * i + 50] = 255
    assert stands_still(images)


@pytest.mark.parametrize("step", [2, 8, 20])
@pytest.mark.parametrize("noise", [0, 60])
def test_a_camera_that_pans_moves(step, noise):
    random = torch.Generator().manual_seed(6)
    images = panned(street(), step).float()
    assert not stands_still(
        (images + noise * torch.randn(images.shape, generator=random)).clamp(0, 255).to(torch.uint8)
    )


def test_scenes_with_a_cut_between_them_are_no_view_of_one_camera():
    views = [panned(street(6, seed=seed), 0) for seed in (7, 8)]
    assert not stands_still(torch.cat(views))


def test_few_or_empty_frames_tell_no_movement():
    assert stands_still(panned(street(MIN_FRAMES - 1), 20))
    assert stands_still(torch.zeros(MIN_FRAMES, 3, 96, 160, dtype=torch.uint8))
