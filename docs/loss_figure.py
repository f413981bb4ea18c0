"""Draw docs/loss.svg: the exact and the released Gumbel loss of a positive, and their slopes.

python docs/loss_figure.py
"""

from pathlib import Path

import altair as alt
import pandas as pd
import torch

from gumbel import gumbel_cross_entropy

VARIANTS = ("exact", "released")


def curves() -> pd.DataFrame:
    """Loss and slope of one positive over its logit, per variant, in long form."""
    frames = []
    for variant in VARIANTS:
        logits = torch.linspace(-5, 2, 701, dtype=torch.float64).unsqueeze(-1).requires_grad_()
        target = torch.zeros(len(logits), dtype=torch.long)
        loss = gumbel_cross_entropy(logits, target, reduction="none", variant=variant)
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        q = logits.detach().squeeze(-1).tolist()
        for panel, values in (("loss", loss), ("slope", slope.squeeze(-1))):
            frames.append(pd.DataFrame({"logit": q, "value": values.tolist(), "panel": panel, "variant": variant}))
    return pd.concat(frames)


def main() -> None:
    data = curves()
    charts = [
        alt.Chart(data[data["panel"] == panel], width=320, height=240, title=title)
        .mark_line(clip=True)
        .encode(
            x=alt.X("logit", title="logit of the positive class"),
            y=alt.Y("value", title=None, scale=alt.Scale(domain=domain)),
            color=alt.Color("variant", title=None, scale=alt.Scale(domain=VARIANTS, range=["#0072b2", "#d55e00"])),
            strokeDash=alt.StrokeDash("variant", title=None, scale=alt.Scale(domain=VARIANTS, range=[[1, 0], [6, 3]])),
        )
        for panel, title, domain in (("loss", "Loss", [0, 100]), ("slope", "Slope", [-100, 0]))
    ]
    alt.hconcat(*charts).save(Path(__file__).with_name("loss.svg"))


if __name__ == "__main__":
    main()
