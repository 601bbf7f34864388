"""Pre-norm transformer blocks (Xiong et al., ICML 2020), from which the attention fusions are
built.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

DROPOUT = 0.2  # on the output of a block; in training only


class Attention(nn.Module):
    """Multi-head attention of queries (B, q, width) over a context (B, n, context width)."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(context, width), nn.Linear(context, width)
        self.out = nn.Linear(width, width)
        # by nn.Linear's own weights, attention would begin nearly uniform
        for part in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(part.weight)

    def forward(self, queries: Tensor, context: Tensor, seen: Tensor | None = None) -> Tensor:
        """The answers (B, q, width); `seen`, bool and broadcasting to (B, q, n), marks the part of
        the context that counts.
        """
        parts = (self.query(queries), self.key(context), self.value(context))
        query, key, value = (
            rearrange(part, "batch token (head width) -> batch head token width", head=self.heads) for part in parts
        )
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=None if seen is None else seen[:, None])
        mixed: Tensor = self.out(rearrange(answer, "batch head token width -> batch token (head width)"))
        return mixed


class SelfAttention(nn.Module):
    """x + attention of LN(x) over itself, then x + MLP(LN(x)); on tokens (B, n, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, width, heads)
        self.mlp, self.dropout = mlp(width), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, seen: Tensor | None = None, answered: int | None = None) -> Tensor:
        """The tokens after the block; only the first `answered` of them, where that is given."""
        normed = self.norm(x)
        x = x[:, :answered] + self.dropout(self.attention(normed[:, :answered], normed, seen))
        after: Tensor = x + self.dropout(self.mlp(x))
        return after


class CrossAttention(nn.Module):
    """x + attention of LN(x) over LN(context), then x + MLP(LN(x)); tokens (B, q, width), context
    (B, n, context width).
    """

    def __init__(self, width: int, context: int, heads: int = 1) -> None:
        super().__init__()
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(context)
        self.attention = Attention(width, context, heads)
        self.mlp, self.dropout = mlp(width), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, context: Tensor, seen: Tensor | None = None) -> Tensor:
        """The tokens (B, q, width) after attention to the `seen` part of the context."""
        x = x + self.dropout(self.attention(self.norm(x), self.context_norm(context), seen))
        after: Tensor = x + self.dropout(self.mlp(x))
        return after


def mlp(width: int) -> nn.Sequential:
    """LN, one hidden layer of twice the width, GELU."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
