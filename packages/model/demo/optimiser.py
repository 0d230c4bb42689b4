"""How the demo model's weights move: the rate over the steps, and Muon for linear layers beside AdamW for all else. Knows no loss."""
import math
import re

import torch


def rate_at(step, steps, warm_up=200, low=0.02):
    """Warm-up, then a cosine to `low` of the peak at the planned end."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done))


# Linear layers by their names: not the embedding (wte) and not the training heads, whose rows are classes.
LINEAR = re.compile(r"(?<!wte)(?<!head)[._]weight$")


class Optimisers:
    """Muon for the linear layers' weights, AdamW for all else (embeddings, heads, norms, biases); matrices decay, all else doesn't. What
    lies in the ViT learns at `vision_share` of the rate."""

    def __init__(self, named, vision_share):
        groups = {"muon": {}, "adamw": {}}
        for name, parameter in named:
            share = vision_share if name.startswith("visual.") else 1.0
            linear = parameter.ndim == 2 and LINEAR.search(name)
            groups["muon" if linear else "adamw"].setdefault((share, 0.05 if parameter.ndim >= 2 else 0.0), []).append(parameter)

        def listed(which):
            return [{"params": p, "weight_decay": decay, "share": share} for (share, decay), p in groups[which].items()]

        self.all = [torch.optim.AdamW(listed("adamw"), betas=(0.9, 0.95), lr=0)]
        if groups["muon"]:
            self.all.append(Muon(listed("muon")))

    def step(self, rate):
        for optimiser in self.all:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self):
        return [optimiser.state_dict() for optimiser in self.all]

    def load_state_dict(self, states):
        for optimiser, state in zip(self.all, states):
            optimiser.load_state_dict(state)


class Muon(torch.optim.Optimizer):
    """AdamW, but for the weights of linear layers: their momentum is made orthogonal before it is taken (Jordan et al. 2024, with the
    scale of Liu et al. 2025, arXiv 2502.16982, so that both kinds share a rate)."""

    def __init__(self, groups):
        super().__init__(groups, {"lr": 0.0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.mul_(0.95).add_(parameter.grad)
                by_shape.setdefault(parameter.shape, []).append((parameter, parameter.grad + 0.95 * momentum))
            for shape, pairs in by_shape.items():
                updates = orthogonal(torch.stack([update for _, update in pairs])) * (0.2 * max(shape) ** 0.5)
                for (parameter, _), update in zip(pairs, updates):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)


def orthogonal(x):  # (matrices, m, n): each nearly U Vᵀ of its singular value decomposition, by five Newton-Schulz steps
    tall = x.shape[1] > x.shape[2]
    x = (x.transpose(1, 2) if tall else x) / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x.transpose(1, 2) if tall else x
