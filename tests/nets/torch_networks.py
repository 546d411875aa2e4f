"""Networks in PyTorch that tests of both readers share."""


def residual(torch):
    """A residual network with max pooling, batch normalisation with statistics, a learned scalar."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.first_norm = nn.BatchNorm2d(outputs)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.second_norm = nn.BatchNorm2d(outputs)
            self.gate = nn.Parameter(torch.rand(()) + 0.5)
            self.short = nn.Identity()
            if stride > 1:
                convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.short = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = torch.relu(self.first_norm(self.first(x)))
            return torch.relu(
                self.gate * self.second_norm(self.second(y)) + self.short(x)
            )

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("centre", torch.rand(1, 3, 1, 1))
            self.stem = nn.Conv2d(3, 4, 3, 1, 1)
            self.norm = nn.BatchNorm2d(4)
            self.pool = nn.MaxPool2d(3, 2, 1)
            self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
            self.dropout = nn.Dropout(0.5)
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            x = self.pool(torch.relu(self.norm(self.stem((x - self.centre) / 0.25))))
            x = self.blocks(x).mean((2, 3))
            return self.head(self.dropout(x).view(x.size(0), -1))

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Residual()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                for name, tensor in part.state_dict().items():
                    if tensor.is_floating_point():
                        low = 0.5 if name in ("running_var", "weight") else -0.5
                        tensor.uniform_(low, low + 1, generator=generator)
    return module.eval()
