"""nn.MultiheadAttention with its projections as layers."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.crossbar.opening.module import OpenModule, linear

_PROJECTED = ("q_proj", "k_proj", "v_proj")


class OpenAttention(OpenModule):
    """Scaled dot-product attention of several heads (Vaswani et al., NeurIPS 2017, section 3.2.2).

    Query, key and value of equal width share one layer, `in_proj`, as they share one matrix in torch; where they are
    different tensors it is called for each, and the outputs that are not needed are dropped.
    """

    copied: ClassVar[tuple[str, ...]] = (
        "embed_dim",
        "num_heads",
        "head_dim",
        "dropout",
        "batch_first",
        "add_zero_attn",
    )
    in_proj_bias = None
    """As a module without a fused kernel has it: torch's encoder layer then calls its parts."""
    _qkv_same_embed_dim = False

    def __init__(self, module: nn.MultiheadAttention) -> None:
        super().__init__(module)
        self.embed_dim: int
        self.num_heads: int
        self.head_dim: int
        self.dropout: float
        self.batch_first: bool
        self.add_zero_attn: bool
        self.bias: Tensor | None
        self.bias_k: Tensor | None
        self.bias_v: Tensor | None
        self.in_proj: nn.Module | None = None
        if module.in_proj_weight is not None:
            self.in_proj = linear(module.in_proj_weight, module.in_proj_bias)
            self.renamed = {"in_proj_weight": "in_proj.weight", "in_proj_bias": "in_proj.bias"}
        else:
            for name in _PROJECTED:
                self.add_module(name, linear(getattr(module, f"{name}_weight"), None))
            self.renamed = {f"{name}_weight": f"{name}.weight" for name in _PROJECTED} | {"in_proj_bias": "bias"}
            self.register_parameter("bias", _copied(module.in_proj_bias))
        self.out_proj: nn.Module = linear(module.out_proj.weight, module.out_proj.bias)
        self.register_parameter("bias_k", _copied(module.bias_k))
        self.register_parameter("bias_v", _copied(module.bias_v))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As nn.MultiheadAttention's: output and, if wanted, attention weights."""
        q, k, v = self._projections(query, key, value)
        single = q.ndim == 2
        if single:
            q, k, v = (x.unsqueeze(0) for x in (q, k, v))
        elif not self.batch_first:
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        k, v = (self._extended(x, bias) for x, bias in ((k, self.bias_k), (v, self.bias_v)))
        q, k, v = (x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))
        k, v = (F.pad(x, (0, 0, 0, 1)) if self.add_zero_attn else x for x in (k, v))
        mask = self._mask(attn_mask, key_padding_mask, (len(q), q.shape[2], k.shape[2]), q)
        # torch takes the hint in place of the mask here, also where keys were added.
        hinted = is_causal and key_padding_mask is None and not need_weights
        dropout, weights = self.dropout if self.training else 0.0, None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / self.head_dim**0.5
            weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
            heads = F.dropout(weights, dropout) @ v
            weights = weights.mean(dim=1) if average_attn_weights else weights
        else:
            heads = F.scaled_dot_product_attention(q, k, v, None if hinted else mask, dropout, is_causal=hinted)
        mixed = heads.transpose(1, 2).flatten(2)
        if single:
            return self.out_proj(mixed.squeeze(0)), None if weights is None else weights.squeeze(0)
        return self.out_proj(mixed if self.batch_first else mixed.transpose(0, 1)), weights

    def _projections(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.in_proj is not None:
            seen: dict[int, tuple[Tensor, ...]] = {}
            for x in (query, key, value):
                if id(x) not in seen:
                    seen[id(x)] = self.in_proj(x).chunk(3, dim=-1)
            return seen[id(query)][0], seen[id(key)][1], seen[id(value)][2]
        q, k, v = (self.get_submodule(name)(x) for name, x in zip(_PROJECTED, (query, key, value), strict=True))
        if self.bias is None:
            return q, k, v
        first, second, third = self.bias.chunk(3)
        return q + first, k + second, v + third

    def _extended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(N, S, E) with the learned key or value behind it."""
        return x if bias is None else torch.cat([x, bias.expand(len(x), 1, -1)], dim=1)

    def _mask(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, sides: tuple[int, int, int], like: Tensor
    ) -> Tensor | None:
        """Both masks as what is added to the scores, broadcasting to (N, heads, L, S); None without a mask.

        Args:
            attn_mask: (L, S) or (N * heads, L, S), bool (True: not seen) or added.
            key_padding_mask: (N, S) or (S,), the same.
            sides: N, L, and S with what was added to the keys.
            like: dtype and device.
        """
        total = None
        if attn_mask is not None:
            own = _added(attn_mask, like)
            total = own if own.ndim == 2 else own.unflatten(0, (sides[0], self.num_heads))
        if key_padding_mask is not None:
            padding = _added(key_padding_mask, like).reshape(sides[0], 1, 1, -1)
            total = padding if total is None else total + padding
        return None if total is None else F.pad(total, (0, sides[2] - total.shape[-1]))


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))


def _copied(values: Tensor | None) -> nn.Parameter | None:
    return None if values is None else nn.Parameter(values.detach().clone(), requires_grad=values.requires_grad)
