from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.embedding.negative_prompt import NegativePrompt
from diffharmon.embedding.null_text import NullText
from diffharmon.embedding.text_refine import TextRefine, attention_loss, attention_mask
from diffharmon.embedding.text_train import TextTrain
from diffharmon.errors import ConfigError
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.sobel import Sobel
from diffharmon.types import StructureGuidance, ignore


def run(optimizer, backbone, inversion, conditioning):
    events = []
    return optimizer.refine(backbone, inversion, conditioning, events.append), events


def losses(events, name="loss"):
    return [float(event.values[name]) for event in events if name in event.values]


class TestTextRefine:
    def refine(self, backbone, inversion, conditioning, **settings):
        return run(TextRefine(divisor=8, **{"regularization": 0.0, **settings}), backbone, inversion, conditioning)

    def test_attention_is_drawn_to_the_mask(self, backbone, inversion, conditioning):
        _, events = self.refine(backbone, inversion, conditioning, learning_rate=0.05, updates=6)
        values = losses(events)
        assert values[5] < values[0]
        assert len(values) == 30

    def test_only_the_condition_tokens_move(self, backbone, inversion, conditioning):
        refined, _ = self.refine(backbone, inversion, conditioning, learning_rate=0.05, fuse=False)
        # Causal text encoder: start, object and nothing else stand before the first condition word.
        assert torch.equal(refined.foreground.tokens[:, :2], conditioning.foreground.tokens[:, :2])
        assert (refined.foreground.tokens[:, 2] - conditioning.foreground.tokens[:, 2]).abs().max() > 1e-3
        assert torch.equal(refined.unconditional.tokens, conditioning.unconditional.tokens)
        torch.testing.assert_close(backbone.embed(["cat dim cold"]).tokens, conditioning.foreground[0].tokens)

    def test_checkpointing_changes_no_word(self, backbone, pipeline_folder, inversion, conditioning):
        spare = StableDiffusion(str(pipeline_folder), size=64, gradient_checkpointing=True)
        found = [
            self.refine(model, inversion, conditioning, updates=1)[0].background.tokens for model in (backbone, spare)
        ]
        torch.testing.assert_close(*found)

    @pytest.mark.parametrize("side", ["foreground", "background"])
    def test_regularization_holds_the_words_of_both_prompts_back(self, backbone, inversion, conditioning, side):
        moved = []
        for regularization in (0.0, 1e4):
            settings = {"learning_rate": 0.05, "regularization": regularization, "fuse": False}
            refined, _ = self.refine(backbone, inversion, conditioning, **settings)
            moved.append((getattr(refined, side).tokens - getattr(conditioning, side).tokens).norm())
        assert moved[1] < 0.85 * moved[0]

    def test_background_words_are_fused_into_one_vector(self, backbone, inversion, conditioning):
        turned = replace(
            conditioning.description,
            foreground=conditioning.description.background,
            background=conditioning.description.foreground,
        )
        swapped = replace(conditioning, description=turned, words=backbone.words(turned))
        fused, _ = self.refine(backbone, inversion, swapped)
        apart, _ = self.refine(backbone, inversion, swapped, fuse=False)
        assert torch.equal(fused.background.tokens[:, 2], fused.background.tokens[:, 3])
        assert not torch.equal(apart.background.tokens[:, 2], apart.background.tokens[:, 3])
        torch.testing.assert_close(
            fused.background.tokens[0, 2], apart.background.tokens[0, 2:4].mean(dim=0), atol=1e-2, rtol=1e-2
        )

    def test_words_are_fused_by_the_softmax_of_what_was_learnt(self, backbone, inversion, conditioning):
        three = replace(conditioning.description, background=("dim", "cold", "warm"))
        asked = replace(conditioning, description=three, words=backbone.words(three))
        fused, events = self.refine(backbone, inversion, asked, learning_rate=0.5)
        apart, _ = self.refine(backbone, inversion, asked, learning_rate=0.5, fuse=False)
        learnt = [event.values["words_weights"] for event in events if "words_weights" in event.values][1::2]
        assert (learnt[0] - learnt[0].mean()).abs().max() > 0.1
        for step, weights in enumerate(learnt):
            expected = (weights.softmax(dim=0)[:, None] * apart.background.tokens[step, 2:5]).sum(dim=0)
            torch.testing.assert_close(fused.background.tokens[step, 3], expected, atol=1e-4, rtol=1e-4)

    def test_a_resolution_without_attention_is_an_error_that_names_the_sides(self, backbone, inversion, conditioning):
        with pytest.raises(ValueError, match="8 x 8, 16 x 16 cells"):
            TextRefine(divisor=16).refine(backbone, inversion, conditioning, ignore)

    def test_the_loss_is_zero_when_the_map_is_the_mask(self):
        mask = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        maps = torch.stack([mask * 0.3, torch.rand(2, 2)], dim=-1)
        assert attention_loss(maps, [0], None, mask) == 0
        assert attention_loss(maps, [1], None, mask) > 0
        pair = attention_mask(torch.ones(1, 8, 8), (4, 4))
        assert torch.equal(pair[0], 1 - pair[1])
        assert pair[0].all()


class TestNullText:
    def test_the_guided_branch_comes_nearer_to_the_inversion(self, backbone, inversion, conditioning):
        optimizer = NullText(guidance=4.0, learning_rate=0.05, updates_every=1)
        refined, events = run(optimizer, backbone, inversion, conditioning)
        ends = [event.values["denoised"] for event in events if "denoised" in event.values]
        plain, schedule = inversion.trajectory.latents[:1], inversion.trajectory.schedule
        with torch.no_grad():
            for step in range(5):
                time = schedule.timesteps[step]
                with_text = optimizer.predict_text(backbone, schedule, conditioning, plain, step)
                noise = optimizer.guided(backbone, plain, conditioning.unconditional[step], with_text, time)
                plain = schedule.denoise(plain, noise, step)
        target = inversion.trajectory.latents[-1]
        assert (ends[-1] - target).norm() < (plain - target).norm()
        assert torch.equal(refined.foreground.tokens, conditioning.foreground.tokens)
        assert not torch.equal(refined.unconditional[0].tokens, refined.unconditional[-1].tokens)

    def test_each_step_is_drawn_to_the_latent_that_leaves_it_in_the_inversion(self, backbone, inversion, conditioning):
        _, events = run(NullText(guidance=4.0, reconstruction=10.0), backbone, inversion, conditioning)
        updates = [event.values for event in events if "reconstruction" in event.values]
        for values, target in zip(updates, inversion.trajectory.latents[1:], strict=True):
            expected = 10 * functional.mse_loss(values["latent"][0], target)
            torch.testing.assert_close(values["reconstruction"], expected)

    def test_the_number_of_updates_grows_with_the_step(self, backbone, inversion, conditioning):
        _, events = run(NullText(guidance=2.5, updates_every=2), backbone, inversion, conditioning)
        assert len(losses(events)) == 1 + 1 + 2 + 2 + 3

    def test_updates_end_early_below_the_threshold(self, backbone, inversion, conditioning):
        _, events = run(NullText(guidance=2.5, updates_every=1, stop_below=1e9), backbone, inversion, conditioning)
        assert len(losses(events)) == 5

    def test_structure_losses_reach_the_embedding(self, backbone, inversion, conditioning, composite):
        with_edges = replace(inversion, structure=EdgeLoss(Sobel(), weight=50.0).guide(composite, (64, 64)))
        optimizer = NullText(guidance=2.5)
        plain, _ = run(optimizer, backbone, inversion, conditioning)
        edged, events = run(optimizer, backbone, with_edges, conditioning)
        assert losses(events, "edges")[0] > 0
        assert not torch.equal(plain.unconditional.tokens, edged.unconditional.tokens)

    def test_structure_may_be_compared_at_half_the_size(self, backbone, inversion, conditioning, composite):
        sizes = []
        losses = EdgeLoss(Sobel(), weight=100.0).guide(composite, (64, 64)).losses

        def seen(image):
            sizes.append(tuple(image.shape[-2:]))
            return losses["edges"](image)

        inversion = replace(inversion, structure=StructureGuidance({"edges": seen}))
        found = {}
        for decode in ("full", "half"):
            refiner = NullText(guidance=2.5, decode=decode)
            found[decode] = refiner.refine(backbone, inversion, conditioning, ignore).unconditional.tokens
        assert set(sizes) == {(64, 64), (32, 32)}
        assert 0 < (found["full"] - found["half"]).abs().max() < 1

    @pytest.mark.parametrize("guidance", [0.0, 1.0])
    def test_a_guidance_that_leaves_nothing_to_optimize_is_refused(self, guidance):
        with pytest.raises(ConfigError, match=r"method\.guidance"):
            NullText(guidance=guidance)

    def test_the_backbone_is_left_as_it_was(self, backbone, inversion, conditioning):
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        run(NullText(guidance=2.5), backbone, inversion, conditioning)
        run(TextRefine(divisor=8), backbone, inversion, conditioning)
        assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
        assert all(parameter.grad is None for parameter in backbone.parameters())


def test_negative_prompt_is_the_foreground_prompt(backbone, inversion, conditioning):
    refined = NegativePrompt().refine(backbone, inversion, conditioning, ignore)
    assert torch.equal(refined.unconditional.tokens, conditioning.foreground.tokens)
    assert functional.mse_loss(refined.background.tokens, conditioning.background.tokens) == 0


def test_order_matters(backbone, inversion, conditioning):
    text, null = TextRefine(divisor=8, learning_rate=0.05), NullText(guidance=2.5)
    first = null.refine(backbone, inversion, text.refine(backbone, inversion, conditioning, ignore), ignore)
    second = text.refine(backbone, inversion, null.refine(backbone, inversion, conditioning, ignore), ignore)
    assert not torch.equal(first.unconditional.tokens, second.unconditional.tokens)


class TestTextTrain:
    def refine(self, backbone, inversion, conditioning, **settings):
        settings = {"divisor": 8, "regularization": 0.0, "learning_rate": 0.05, "updates": 8, **settings}
        return run(TextTrain(**settings), backbone, inversion, conditioning)

    def test_all_steps_share_one_embedding_of_each_prompt(self, backbone, inversion, conditioning):
        refined, _ = self.refine(backbone, inversion, conditioning)
        for side in ("foreground", "background"):
            embeddings, initial = getattr(refined, side).tokens, getattr(conditioning, side).tokens
            assert embeddings.shape == initial.shape
            assert all(torch.equal(embeddings[0], embedding) for embedding in embeddings)
            assert (embeddings[0] - initial[0]).abs().max() > 1e-3
        assert torch.equal(refined.unconditional.tokens, conditioning.unconditional.tokens)

    def test_attention_is_drawn_to_the_mask(self, backbone, inversion, conditioning):
        _, events = self.refine(backbone, inversion, conditioning, batch=5, updates=10)
        values = losses(events)
        assert len(values) == 10
        assert sum(values[-3:]) < sum(values[:3])

    def test_steps_are_drawn_anew_for_each_update_and_again_by_the_same_seed(self, backbone, inversion, conditioning):
        drawn = []
        for seed in (0, 0, 1):
            _, events = self.refine(backbone, inversion, conditioning, seed=seed, updates=6)
            drawn.append([event.values["steps"].tolist() for event in events if "steps" in event.values])
        assert drawn[0] == drawn[1] != drawn[2]
        assert all(len(steps) == 4 for steps in drawn[0])
        assert {step for steps in drawn[0] for step in steps} == set(range(5)), "all sampling steps have their turn"

    def test_one_update_goes_along_the_mean_gradient_of_its_steps(self, backbone, inversion, conditioning):
        """AdamW's first step depends on the gradient's sign alone: the mean over a batch of one is that step's own."""
        settings = {"updates": 1, "batch": 1, "fuse": False, "weight_decay": 0.0}
        trained, events = self.refine(backbone, inversion, conditioning, **settings)
        (step,) = next(event.values["steps"] for event in events if "steps" in event.values).tolist()
        refine = TextRefine(divisor=8, regularization=0.0, learning_rate=0.05, updates=1, fuse=False, weight_decay=0.0)

        class FromStep(TextRefine):
            def noisy_latents(self, task):
                yield from [task.inversion.trajectory.latents[step, None]] * 5

            def terms(self, task, words, initial, latent, _):
                return super().terms(task, words, initial, latent, step)

        refined = FromStep(**refine.__dict__).refine(backbone, inversion, conditioning, ignore)
        torch.testing.assert_close(trained.foreground[0].tokens, refined.foreground[0].tokens)
