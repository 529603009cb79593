"""A network of VPoser's layout with small random layers: its real weights may not be passed on."""

import pytest

HIDDEN, LATENT = 24, 8


def vposer_network():
    """(torch modules of VPoser 2 with small hidden layers, its state as arrays)."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.mu, self.logvar = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

        def forward(self, x):
            return self.mu(x)

    encoder = nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(63), nn.Linear(63, HIDDEN), nn.LeakyReLU(),
        nn.BatchNorm1d(HIDDEN), nn.Dropout(0.1), nn.Linear(HIDDEN, HIDDEN),
        nn.Linear(HIDDEN, HIDDEN), Heads(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(LATENT, HIDDEN), nn.LeakyReLU(), nn.Dropout(0.1), nn.Linear(HIDDEN, HIDDEN),
        nn.LeakyReLU(), nn.Linear(HIDDEN, 126),
    )  # fmt: skip
    encoder(torch.randn(64, 63))  # gives the batch norms statistics
    encoder.eval()
    decoder.eval()
    state = {f"vp_model.encoder_net.{k}": v.numpy() for k, v in encoder.state_dict().items()}
    state |= {f"vp_model.decoder_net.{k}": v.numpy() for k, v in decoder.state_dict().items()}
    return encoder, decoder, state
