"""EMA codebooks: the search, the averages computed by hand, and several processes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from chirrup.lab.quantizers.ema import DECAY, SMOOTHING, VECTORS, EMALevel
from chirrup.lab.quantizers.rvq import ResidualVectorQuantizer
from chirrup.lab.training.codebooks import Usage, counts_and_sums, ema_update, initialise

DIM, LEVELS, SIZE, CODE_DIM = 12, 3, 16, 4


def level() -> EMALevel:
    """Return a level in double precision, so that rounding does not change searches."""
    torch.manual_seed(0)
    return EMALevel(DIM, SIZE, CODE_DIM).double()


def quantizer() -> ResidualVectorQuantizer:
    torch.manual_seed(0)
    return ResidualVectorQuantizer(DIM, LEVELS, SIZE, CODE_DIM, EMALevel).double()


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.double)


def consistent(level: EMALevel, tolerance: float = 1e-3) -> None:
    """Except for the smoothing, the entries are sums divided by counts."""
    assert_close(level.codebook, level.sums / level.counts[:, None], rtol=tolerance, atol=1e-6)


@given(scale=st.floats(0.01, 20), seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_search_finds_the_nearest_entry(scale: float, seed: int) -> None:
    """The search uses Euclidean distance: entries have different norms."""
    trained = level()
    trained.set_entries(
        torch.arange(SIZE), noise(SIZE, CODE_DIM) * torch.linspace(0.2, 3, SIZE)[:, None]
    )
    projected = scale * noise(2, CODE_DIM, 9, seed=seed)
    found = trained.search(projected)
    assert found.shape == (2, 9)
    for row in range(2):
        for frame in range(9):
            far = [float((projected[row, :, frame] - x).square().sum()) for x in trained.codebook]
            assert far[found[row, frame]] == min(far)


def test_a_step_is_the_moving_average_by_hand() -> None:
    trained = level()
    counts, sums = trained.counts.tolist(), trained.sums.tolist()
    for step in range(3):
        vectors = noise(40, CODE_DIM, seed=step)
        codes = trained.search(vectors.T[None])[0]
        trained.ema_update(*counts_and_sums(codes, vectors, SIZE))
        for entry in range(SIZE):
            mine = vectors[codes == entry]
            counts[entry] = DECAY * counts[entry] + (1 - DECAY) * len(mine)
            for place in range(CODE_DIM):
                added = (1 - DECAY) * float(mine[:, place].sum())
                sums[entry][place] = DECAY * sums[entry][place] + added
        total = sum(counts)
        for entry in range(SIZE):
            smooth = (counts[entry] + SMOOTHING) / (total + SIZE * SMOOTHING) * total
            assert_close(trained.codebook[entry], torch.tensor(sums[entry]).double() / smooth)
    assert_close(trained.counts, torch.tensor(counts).double())


def test_few_vectors_a_step_move_entries_less() -> None:
    """Otherwise an entry would be the average of very few vectors."""
    for vectors, rate in ((2, 2 / (VECTORS * SIZE)), (40, 1 - DECAY)):
        trained, counts = level(), torch.full((SIZE,), vectors / SIZE).double()
        before = trained.sums.clone()
        trained.ema_update(counts, torch.zeros_like(before))
        assert_close(trained.sums, (1 - rate) * before)


def test_entries_arrive_at_the_mean_of_what_chooses_them() -> None:
    trained = level()
    vectors = noise(200, CODE_DIM)
    fixed = trained.search(vectors.T[None])[0]
    counts, sums = counts_and_sums(fixed, vectors, SIZE)
    for _ in range(2000):
        trained.ema_update(counts, sums)
    used = counts > 0
    assert int(used.sum()) > 2
    assert_close(trained.codebook[used], (sums / counts[:, None])[used], rtol=1e-3, atol=1e-4)


def test_an_entry_that_nobody_chooses_stays_finite() -> None:
    """Its average may have become a subnormal float32 after thousands of steps."""
    trained = level().float()
    counts, sums = torch.zeros(SIZE), torch.zeros(SIZE, CODE_DIM)
    counts[0], sums[0] = 10.0, 1.0
    for _ in range(12_000):
        trained.ema_update(counts, sums)
    assert float(trained.counts[1]) < 1e-38
    assert trained.codebook.isfinite().all()
    assert float(trained.codebook.abs().max()) < 10


def test_placed_entries_stay_where_they_are_put() -> None:
    """Their count is the average count, so the next step does not discard them again."""
    trained = level()
    for step in range(5):
        vectors = noise(40, CODE_DIM, seed=step)
        trained.ema_update(*counts_and_sums(trained.search(vectors.T[None])[0], vectors, SIZE))
    before = trained.counts.clone(), trained.codebook.clone()
    which, entries = torch.tensor([2, 7, 11]), 5 * noise(3, CODE_DIM, seed=9)
    trained.set_entries(which, entries)
    assert torch.equal(trained.codebook[which], entries)
    assert_close(trained.counts[which], before[0].mean().expand(3))
    others = [entry for entry in range(SIZE) if entry not in which]
    assert torch.equal(trained.counts[others], before[0][others])
    assert torch.equal(trained.codebook[others], before[1][others])
    consistent(trained)
    trained.ema_update(torch.zeros(SIZE).double(), torch.zeros(SIZE, CODE_DIM).double())
    assert_close(trained.codebook[which], entries, rtol=1e-3, atol=0)
    trained.set_entries(torch.tensor([], dtype=torch.long), entries[:0])
    consistent(trained)


def test_codebooks_are_state_but_no_parameters() -> None:
    model = quantizer()
    parameters = dict(model.named_parameters())
    assert not any("codebook" in name for name in parameters)
    kept = {"codebook", "counts", "sums"}
    for index in range(LEVELS):
        assert kept <= {name.removeprefix(f"levels.{index}.") for name in model.state_dict()}
    ema_update(model, *codes_and_projected(model, noise(2, DIM, 30)))
    other = ResidualVectorQuantizer(DIM, LEVELS, SIZE, CODE_DIM, EMALevel).double()
    x = noise(2, DIM, 9, seed=5)
    assert not torch.equal(other.encode(x), model.encode(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.encode(x), model.encode(x))
    for each in (model, other):
        ema_update(each, *codes_and_projected(each, x))
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def codes_and_projected(model: ResidualVectorQuantizer, x: Tensor) -> tuple[Tensor, Tensor]:
    result = model(x, torch.full((len(x),), LEVELS))
    return result.codes, result.projected


def test_gradient_passes_straight_through_to_the_projections_alone() -> None:
    model, x = quantizer(), noise(3, DIM, 7).requires_grad_()
    toward = noise(3, DIM, 7, seed=1)
    used = torch.tensor([1, 2, LEVELS])
    result = model(x, used)
    (result.latent * toward).sum().backward()

    plain = noise(3, DIM, 7).requires_grad_()
    residual, total = plain, torch.zeros_like(plain)
    for index in range(LEVELS):
        each = model.trained_levels[index]
        output = each.project_out(each.project_in(residual))
        total = total + output * (index < used)[:, None, None]
        residual = residual - output
    (total * toward).sum().backward()
    assert x.grad is not None
    assert plain.grad is not None
    assert_close(x.grad, plain.grad)
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not result.codebook.requires_grad


def test_encode_and_decode_agree_with_forward() -> None:
    model, x = quantizer(), noise(3, DIM, 7)
    used = torch.tensor([1, 2, LEVELS])
    result = model(x, used)
    codes = model.encode(x)
    assert torch.equal(codes, result.codes)
    for row in range(3):
        decoded = model.decode(codes[row : row + 1, : used[row]])
        assert_close(decoded, result.latent[row : row + 1])


def test_codebooks_start_from_data_and_follow_it() -> None:
    model = quantizer().float()
    vectors = (noise(600, DIM) * 0.7 ** torch.arange(DIM) + 0.3).float()
    left = initialise(model, vectors, seed=0)
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.5
    for index in range(LEVELS):
        started = model.trained_levels[index]
        assert isinstance(started, EMALevel)
        consistent(started)

    def error() -> float:
        with torch.no_grad():
            decoded = model.decode(model.encode(x))
        return float((decoded - x).square().mean())

    x = vectors.T[None] + 0.5
    before = error()
    for _ in range(100):
        ema_update(model, *codes_and_projected(model, x))
    assert error() < before


def test_revived_entries_are_used() -> None:
    model = quantizer()
    usage = Usage(LEVELS, SIZE).double()
    usage.share[1, 5] = 0.0
    _, projected = codes_and_projected(model, noise(2, DIM, 30))
    assert usage.revive(model, projected, 0.05, torch.Generator().manual_seed(0)) == 1
    revived = model.trained_levels[1]
    assert isinstance(revived, EMALevel)
    assert (projected[1] == revived.codebook[5]).all(1).any()
    assert 5 in revived.search(projected[1].T[None])
    consistent(revived)


# --- several processes ---------------------------------------------------------------------------


def batch(rank: int) -> Tensor:
    return noise(2, DIM, 30, seed=10 + rank)


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    model = quantizer()
    ema_update(model, *codes_and_projected(model, batch(rank)))
    torch.save(model.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_follow_both_batches(tmp_path: Path) -> None:
    mp.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    model = quantizer()
    alone = quantizer()
    ema_update(alone, *codes_and_projected(alone, batch(0)))
    ema_update(model, *codes_and_projected(model, torch.cat([batch(0), batch(1)])))
    for name, value in model.state_dict().items():
        assert torch.equal(first[name], second[name])
        assert_close(first[name], value)
    assert not torch.allclose(alone.trained_levels[0].codebook, first["levels.0.codebook"])
