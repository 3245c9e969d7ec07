"""What the joint reader gains on the pairs that it was trained on, to set beside what it gains on photos it never saw.

    python experiments/reader/seen.py EVIDENCE [--weights FOLDER] [--shards 8]

EVIDENCE is the folder `evidence` of a run of recipe=joint_reader. Prints gain, share made worse and AUC of "altered".
"""

import argparse
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score

from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.reading import WEIGHTS
from diffharmon.training.light_reading import errors, unpaired


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evidence", type=Path)
    parser.add_argument("--weights", default=WEIGHTS)
    parser.add_argument("--shards", type=int, default=8)
    options = parser.parse_args()
    network = JointNetwork.from_pretrained(options.weights).eval()
    gains, logits = [], []
    for path in sorted(options.evidence.glob("*.pt"))[: options.shards]:
        both = unpaired({name: rows.float() for name, rows in torch.load(path, weights_only=True).items()})
        with torch.no_grad():
            change, _, logit = network(both["measured"], both["values"])
        left, before = (error[::2] + 1e-6 for error in errors(both, change))
        gains.append(10 * (before / left).log10())
        logits.append(logit)
    gain, logit = torch.cat(gains), torch.cat(logits)
    area = roc_auc_score([1, 0] * len(gain), logit.numpy())
    print(f"{len(gain)} pairs: {gain.mean():+.2f} dB, {100 * (gain < 0).float().mean():.0f} % worse, AUC {area:.3f}")


if __name__ == "__main__":
    main()
