"""Sobel and PiDiNet losses against the golden tensors of the public code, and their properties."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from scipy import ndimage

from diffharmon import images
from diffharmon.errors import ModelError
from diffharmon.protocols import EdgeDetector
from diffharmon.reference.edges import ReferenceEdgeLoss
from diffharmon.structure.combine import combine
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.pidinet import PiDiNet, load, normalize
from diffharmon.structure.sobel import Sobel
from diffharmon.types import Composite

SIZE = 64


def tensor(path: Path, mode: str = "RGB") -> torch.Tensor:
    values = np.asarray(Image.open(path).convert(mode), dtype=np.float32) / 255
    return torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1).contiguous()


@pytest.fixture(scope="module")
def golden(golden_folder):
    arrays = np.load(golden_folder / "module_io.npz")
    return {name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype == np.float32}


@pytest.fixture(scope="module")
def published(shared) -> str:
    return str(shared / "weights" / "pidinet" / "table5_pidinet-tiny.pth")


@pytest.fixture(scope="module")
def random_weights(toy_pidinet) -> str:
    return str(toy_pidinet)


@pytest.fixture(scope="module")
def photo() -> Composite:
    image = torch.from_numpy(skimage.data.astronaut()[:300, :400].copy()).permute(2, 0, 1).float() / 255
    mask = torch.zeros(1, 300, 400)
    mask[:, 60:200, 100:300] = 1
    return Composite("astronaut", "test", image, mask)


def resized(composite: Composite) -> torch.Tensor:
    picture = Image.fromarray((composite.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    array = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS), dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def parts(random_weights) -> dict[str, EdgeLoss]:
    """One row for each edge detector."""
    return {
        "sobel": EdgeLoss(Sobel()),
        "pidinet": EdgeLoss(PiDiNet(random_weights), 0.1, "bilinear"),
    }


PARTS = ("sobel", "pidinet")


def test_sobel_equals_golden(golden):
    image = golden["pre_girl128"]
    torch.testing.assert_close(Sobel()(image), golden["sobel_pm1"], atol=1e-6, rtol=0)
    torch.testing.assert_close(Sobel()(image / 2 + 0.5), golden["sobel_01"], atol=1e-6, rtol=0)


def test_sobel_equals_scipy():
    image = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    array = image.double().numpy()
    expected = np.empty_like(array)
    for place in np.ndindex(2, 3):
        gradients = [ndimage.sobel(array[place], axis=axis, mode="nearest") / 8 for axis in (0, 1)]
        expected[place] = np.sqrt(gradients[0] ** 2 + gradients[1] ** 2 + 1e-6)
    np.testing.assert_allclose(Sobel()(image).numpy(), expected, atol=1e-6)


def test_sobel_loss_equals_golden(golden):
    composite = Composite("girl", "parity", golden["pre_girl128"][0] / 2 + 0.5, golden["edge_mask"][0])
    loss = ReferenceEdgeLoss(Sobel(), reference_range="signed").guide(composite, (128, 128)).losses["edges"]
    assert loss(golden["edge_image"]).item() == pytest.approx(golden["edge_loss"].item(), abs=1e-6, rel=1e-6)


def test_sobel_gradient_equals_golden_through_the_decoder(golden, golden_folder):
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(golden_folder / "pipeline" / "vae").requires_grad_(False)
    composite = Composite("girl", "parity", golden["pre_girl128"][0] / 2 + 0.5, golden["edge_mask"][0])
    loss = ReferenceEdgeLoss(Sobel(), reference_range="signed").guide(composite, (128, 128)).losses["edges"]
    latent = golden["vae_latents"].clone().requires_grad_()
    decoded = (vae.decode(latent / 0.18215).sample / 2 + 0.5).clamp(0, 1)
    (gradient,) = torch.autograd.grad(loss(decoded), latent)
    error = (gradient - golden["edge_grad_latents"]).norm() / golden["edge_grad_latents"].norm()
    assert error < 1e-5


@pytest.mark.parametrize(("case", "picture"), [("girl128_edge", "girl"), ("house128_multi", "house")])
def test_case_edges_and_losses_equal_golden(golden_folder, published, case, picture):
    inputs = golden_folder / "inputs"
    recorded = {name: torch.from_numpy(value) for name, value in np.load(golden_folder / case / "iter00.npz").items()}
    image = tensor(inputs / f"{picture}_comp.png")
    composite = Composite(picture, "parity", image, tensor(inputs / f"{picture}_mask.png")[:1])
    decoded = recorded["uncond_first_image"]
    _, expected_pidinet, expected_sobel = recorded["uncond_mse"][0].tolist()

    network = PiDiNet(published).network
    parts = {
        "sobel": ReferenceEdgeLoss(Sobel(), reference_range="signed"),
        "pidinet": ReferenceEdgeLoss(PiDiNet(published), resampling="bilinear", detach=True, opaque=True),
    }
    losses = combine(parts, composite, (128, 128)).losses
    assert losses["sobel"](decoded).item() == pytest.approx(expected_sobel, abs=1e-6)
    assert losses["pidinet"](decoded).item() == pytest.approx(expected_pidinet, abs=1e-6)
    torch.testing.assert_close(Sobel()(decoded), recorded["first_out_sobel"], atol=1e-6, rtol=0)
    torch.testing.assert_close(network(normalize(decoded)), recorded["first_out_edge"], atol=1e-6, rtol=0)


def test_pidinet_equals_golden(golden, published):
    network = load(published)
    with torch.no_grad():
        maps = network.maps(golden["pre_pid_girl128"])
        fused = network(golden["edge_image_pid_input"])
    torch.testing.assert_close(maps, golden["pidinet_out5"], atol=1e-6, rtol=0)
    torch.testing.assert_close(fused, golden["edge_pid_out"], atol=1e-6, rtol=0)
    torch.testing.assert_close(normalize(golden["edge_image"]), golden["edge_image_pid_input"], atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", PARTS)
def test_loss_is_zero_on_itself_and_grows_with_the_difference(photo, parts, name):
    loss = parts[name].guide(photo, (SIZE, SIZE)).losses["edges"]
    same = resized(photo)
    if name == "pidinet":
        picture = Image.fromarray((photo.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
        array = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        same = torch.from_numpy(array).permute(2, 0, 1)[None]
    noise = torch.randn(same.shape, generator=torch.Generator().manual_seed(0))
    assert loss(same).item() < 1e-10
    assert loss((same + 0.05 * noise).clamp(0, 1)) < loss((same + 0.3 * noise).clamp(0, 1))


@pytest.mark.parametrize("name", PARTS)
def test_gradient_reaches_the_image(photo, parts, name):
    loss = parts[name].guide(photo, (SIZE, SIZE)).losses["edges"]
    decoded = resized(photo).flip(-1).requires_grad_()
    value = loss(decoded)
    (gradient,) = torch.autograd.grad(value, decoded)
    assert gradient.isfinite().all()
    assert gradient[..., 20:40, 20:44].abs().mean() > 0
    with torch.no_grad():
        assert loss(decoded - 1e-3 * gradient / gradient.norm()) < value


@pytest.mark.parametrize("name", PARTS)
def test_gradient_is_finite_on_a_flat_image(photo, parts, name):
    loss = parts[name].guide(photo, (SIZE, SIZE)).losses["edges"]
    decoded = torch.full((1, 3, SIZE, SIZE), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(decoded), decoded)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", PARTS)
def test_a_detector_maps_images_to_edges_of_their_size(parts, name):
    detector = parts[name].detector
    assert isinstance(detector, EdgeDetector)
    edges = detector(torch.rand(2, 3, 32, 48))
    assert edges.shape[0] == 2
    assert edges.shape[2:] == (32, 48)
    assert edges.min() >= 0


def test_background_does_not_count(photo):
    loss = EdgeLoss(Sobel()).guide(photo, (SIZE, SIZE)).losses["edges"]
    changed = resized(photo)
    changed[..., :8, :] = 0  # rows 12 to 43 hold the mask; an edge pixel looks one row further
    assert loss(changed).item() < 1e-10


def test_the_weight_scales_the_loss(photo):
    flat = torch.zeros(1, 3, SIZE, SIZE)
    value = EdgeLoss(Sobel()).guide(photo, (SIZE, SIZE)).losses["edges"](flat)
    torch.testing.assert_close(
        EdgeLoss(Sobel(), weight=3.0).guide(photo, (SIZE, SIZE)).losses["edges"](flat), 3 * value
    )


def test_transparent_pixels_have_no_edges(photo):
    alpha = torch.ones(1, 300, 400)
    alpha[:, :, :200] = 0
    hidden = replace(photo, image=photo.image * (alpha > 0), alpha=alpha)
    other = replace(photo, image=photo.image * (alpha > 0) + 0.5 * (alpha == 0), alpha=alpha)
    decoded = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    for part, equal in ((EdgeLoss(Sobel()), True), (ReferenceEdgeLoss(Sobel(), opaque=True), False)):
        first, second = (part.guide(picture, (SIZE, SIZE)).losses["edges"](decoded) for picture in (hidden, other))
        assert torch.equal(first, second) is equal


def test_half_precision_images_are_measured_in_single(photo, parts):
    for part in parts.values():
        decoded = resized(photo).flip(-1).to(torch.bfloat16).requires_grad_()
        value = part.guide(photo, (SIZE, SIZE)).losses["edges"](decoded)
        assert value.dtype == torch.float32
        assert torch.autograd.grad(value, decoded)[0].dtype == torch.bfloat16


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    for weights in (None, "", str(tmp_path / "absent.pth")):
        with pytest.raises(ModelError, match=r"hellozhuo/pidinet.*~structure\.pidinet"):
            PiDiNet(weights)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/nothing"):
        PiDiNet("nobody/nothing:table5_pidinet-tiny.pth")


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    text, other, list_ = tmp_path / "text.pth", tmp_path / "other.pth", tmp_path / "list.pth"
    text.write_text("not a checkpoint")
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, other)
    torch.save([1, 2], list_)
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes(other.read_bytes()[:200])
    for path in (text, other, list_, truncated):
        with pytest.raises(ModelError, match=path.name):
            PiDiNet(str(path))


def test_an_image_of_another_size_is_compared_with_the_photo_at_that_size(photo):
    loss = EdgeLoss(Sobel()).guide(photo, (SIZE, SIZE)).losses["edges"]
    small = images.resize(photo.image, (SIZE // 2, SIZE // 2), "lanczos")[None]
    assert loss(small) == 0
    assert loss(small.flip(-1)) > 0
