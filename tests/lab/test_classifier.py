"""Classifiers from a folder: what they read, how their labels become scores, what that costs, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from cairn.errors import UserError
from cairn.lab.bills import Bills
from cairn.lab.cell import describe_object, describe_scorer, restore_object
from cairn.lab.door import Door
from cairn.lab.forms import prompt_form
from cairn.lab.guard import UnbilledComputeError, stage
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel, weights_digest
from cairn.lab.scorers import Classifier, Scorer, Site
from cairn.lab.scorers.base import LiveScorer, Transcript
from cairn.lab.services import Models, TabularServices
from cairn.rollouts import Rollouts

WORDS = ("<unk>", "<cls>", "<sep>", "<step>", "good", "bad", "fair")
LLAMA: dict[str, Any] = {
    "vocab_size": 7, "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 64,
}  # fmt: skip
# A word's embedding. Its mean square is 1, so that the norm before the head leaves it as it is.
GOOD, BAD, FAIR = (2.0, 0.0, 0.0, 0.0), (0.0, 2.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)
Talk = Sequence[Sequence[tuple[str, str]]]


def words_tokenizer(framed: bool = False) -> PreTrainedTokenizerFast:
    """A token for each word; `framed` puts <cls> before a text and <sep> behind it."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if framed:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<cls> $A <sep>", special_tokens=[("<cls>", 1), ("<sep>", 2)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<sep>")


def saved(network: PreTrainedModel, folder: Path, framed: bool = False) -> str:
    network.save_pretrained(folder)
    words_tokenizer(framed).save_pretrained(folder)
    return str(folder)


def last_word(kind: type[PreTrainedModel], head: list[list[float]]) -> PreTrainedModel:
    """A network whose layer adds nothing: the label of a token is its embedding times `head`."""
    network: Any = kind(LlamaConfig(**{**LLAMA, "num_labels": len(head)}))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                weight.zero_()
        embedding = network.get_input_embeddings().weight
        embedding[4:7] = torch.tensor([GOOD, BAD, FAIR])
        network.score.weight.copy_(torch.tensor(head))
        if getattr(network.score, "bias", None) is not None:
            network.score.bias.zero_()
    return cast(PreTrainedModel, network)


def transcript(tokenizer: Any, talk: Talk) -> Transcript:
    """One row a rollout, in words that the policy's tokenizer here knows: it is the scorer's, without a frame."""
    rows: list[tuple[list[int], list[int]]] = []
    for turns in talk:
        tokens: list[int] = []
        turn_ids: list[int] = []
        for k, (seen, said) in enumerate(turns):
            for text, turn in ((seen, -1), (said, k)):
                ids = tokenizer(text)["input_ids"]
                tokens, turn_ids = tokens + ids, turn_ids + [turn] * len(ids)
        rows.append((tokens, turn_ids))
    width, most = max((len(t) for t, _ in rows), default=0), max((len(t) for t in talk), default=0)
    padded = [(t + [0] * (width - len(t)), k + [-1] * (width - len(k)), len(t)) for t, k in rows]
    token_ids = torch.tensor([t for t, _, _ in padded], dtype=torch.long).reshape(len(rows), width)
    turn_of = torch.tensor([k for _, k, _ in padded], dtype=torch.long).reshape(len(rows), width)
    count, numbers = len(rows), torch.arange(len(rows))
    batch = Rollouts(
        token_ids=token_ids,
        attention_mask=torch.arange(width) < torch.tensor([n for _, _, n in padded]).reshape(count, 1),
        action_mask=turn_of >= 0,
        turn_ids=turn_of,
        row_rollout=numbers,
        group_ids=numbers,
        terminal_rewards=torch.zeros(count),
        truncated=torch.zeros(count, dtype=torch.bool),
        turn_mask=torch.arange(most) < torch.tensor([len(t) for t in talk]).reshape(count, 1),
        turn_rewards=torch.zeros(count, most),
        logprobs_behaviour=torch.zeros(count, width),
    )
    return Transcript(batch, tokenizer, cast(Any, None), cast(Any, None), 0, 0)


TALK = [[("fair", "bad good"), ("bad", "fair bad")], [("good", "fair")]]
Asked = Callable[..., tuple[LiveScorer, Bills, Ledger]]


@pytest.fixture
def asked(model: LanguageModel) -> Asked:
    """Open a scorer, and a ledger for what it costs."""

    def opened(scorer: Scorer) -> tuple[LiveScorer, Bills, Ledger]:
        ledger = Ledger()
        form = prompt_form("windowed", model.tokenizer, 2)
        return scorer.open(Site(model, form, (), 0)), Bills(ledger, model.cost), ledger

    return opened


def test_one_label_is_read_at_the_end_of_each_turn(tmp_path: Path, asked: Asked) -> None:
    """By hand: the head gives good 2 * 0.5 = 1, bad 2 * -1 = -2 and fair 0.5 - 1 + 0.25 + 0.25 = 0."""
    source = saved(last_word(LlamaForSequenceClassification, [[0.5, -1.0, 0.25, 0.25]]), tmp_path)
    script = transcript(words_tokenizer(), TALK)
    live, bills, ledger = asked(Classifier(source, one_label="logit"))
    torch.testing.assert_close(live.turns(script, bills), torch.tensor([[1.0, -2.0], [0.0, 0.0]]), atol=1e-4, rtol=0)
    assert ledger.scored_tokens == 3 + 6 + 2, "each turn is read with what went before it"
    # Weights: attention 4 * 4 * 4, the block 3 * 4 * 8, the head 4 * 1; one layer of width 4.
    weights = 4 * 16 + 3 * 32 + 4
    assert ledger.flops == 2 * weights * 11 + 4 * 4 * (9 + 36 + 4)
    torch.testing.assert_close(live.rollouts(script, bills), torch.tensor([-2.0, 0.0]), atol=1e-4, rtol=0)
    assert ledger.scored_tokens == 11 + 6 + 2
    assert ledger.judge_calls == 0
    live, bills, _ = asked(Classifier(source))
    wanted = torch.tensor([[0.7310586, 0.1192029], [0.5, 0.0]])  # 1 / (1 + exp(-x)); no second turn, 0
    torch.testing.assert_close(live.turns(script, bills), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("label", "wanted"), [(1, [0.8807971, 0.0024726]), (0, [0.1192029, 0.9975274])])
def test_two_labels_become_a_softmax(tmp_path: Path, asked: Asked, label: int, wanted: list[float]) -> None:
    """By hand: good has logits (-1, 1) and bad (2, -4), so that label 1 has 1 / (1 + exp(-2)) and 1 / (1 + exp(6))."""
    network = last_word(LlamaForSequenceClassification, [[-0.5, 1.0, 0.0, 0.0], [0.5, -2.0, 0.0, 0.0]])
    live, bills, _ = asked(Classifier(saved(network, tmp_path), right_label=label))
    scores = live.turns(transcript(words_tokenizer(), TALK), bills)
    torch.testing.assert_close(scores[0], torch.tensor(wanted), atol=1e-5, rtol=0)


def test_labels_of_tokens_are_read_at_the_last_one_of_each_turn_in_one_pass(tmp_path: Path, asked: Asked) -> None:
    source = saved(last_word(LlamaForTokenClassification, [[0.5, -1.0, 0.25, 0.25]]), tmp_path)
    script = transcript(words_tokenizer(), TALK)
    live, bills, ledger = asked(Classifier(source, head="token", one_label="logit"))
    torch.testing.assert_close(live.turns(script, bills), torch.tensor([[1.0, -2.0], [0.0, 0.0]]), atol=1e-4, rtol=0)
    assert ledger.scored_tokens == 6 + 2
    torch.testing.assert_close(live.rollouts(script, bills), torch.tensor([-2.0, 0.0]), atol=1e-4, rtol=0)
    assert live.notes == {"scorer_cut_share": 0.0}
    # A mark that ends each turn is a token of its own, and the label is read there.
    marked, bills, ledger = asked(Classifier(source, head="token", one_label="logit", said_end=" <step> "))
    scores = marked.turns(script, bills)
    assert ledger.scored_tokens == 6 + 2 + 3
    torch.testing.assert_close(scores[script.rollouts.turn_mask], scores[0, 0].expand(3))


def alone(network: PreTrainedModel, words: str) -> Tensor:
    """Golden: the network's own answer to one text, without a batch; (labels,) or (tokens, labels)."""
    with torch.no_grad():
        answer = network(torch.tensor([[WORDS.index(word) for word in words.split()]]))
    return cast(Tensor, answer.logits[0])


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("kind", [BertForSequenceClassification, LlamaForSequenceClassification])
def test_a_turn_is_read_with_all_before_it_and_as_if_alone(
    tmp_path: Path, asked: Asked, batch_size: int, kind: type[PreTrainedModel]
) -> None:
    """The texts end in <sep>, which is the padding of this tokenizer: it must be read all the same."""
    torch.manual_seed(0)
    sizes = {**LLAMA, "num_labels": 2, "initializer_range": 1.0, "pad_token_id": 2}
    network = kind(BertConfig(**sizes) if kind is BertForSequenceClassification else LlamaConfig(**sizes)).eval()
    live, bills, ledger = asked(Classifier(saved(network, tmp_path, framed=True), batch_size=batch_size))
    scores = live.turns(transcript(words_tokenizer(), TALK), bills)
    if kind is LlamaForSequenceClassification:
        network.config.pad_token_id = None
    texts = ("fair bad good", "fair bad good bad fair bad", "good fair")
    golden = [alone(network, f"<cls> {text} <sep>").softmax(-1)[1] for text in texts]
    torch.testing.assert_close(scores[[0, 0, 1], [0, 1, 0]], torch.stack(golden))
    assert ledger.scored_tokens == 5 + 8 + 4


def test_what_is_too_long_loses_its_beginning(tmp_path: Path, asked: Asked) -> None:
    """Rows of 6 tokens hold 4 words: turns that end at words 2 and 4 share a row, the one at word 7 has its own."""
    torch.manual_seed(0)
    network = LlamaForTokenClassification(LlamaConfig(**{**LLAMA, "num_labels": 2, "initializer_range": 1.0})).eval()
    source = saved(network, tmp_path, framed=True)
    script = transcript(words_tokenizer(), [[("good", "bad"), ("", "fair bad"), ("good good", "fair")]])
    live, bills, ledger = asked(Classifier(source, head="token", longest_tokens=6))
    scores = live.turns(script, bills)[0]
    shared = alone(network, "<cls> good bad fair bad <sep>").softmax(-1)[:, 1]
    late = alone(network, "<cls> bad good good fair <sep>").softmax(-1)[:, 1]
    torch.testing.assert_close(scores, torch.stack([shared[2], shared[4], late[4]]))
    assert ledger.scored_tokens == 12
    assert live.notes == {"scorer_cut_share": 0.5}
    with pytest.raises(UserError, match="no room"):
        asked(Classifier(source, head="token", longest_tokens=2))[0].turns(script, bills)
    # The limit that the network states holds without being asked for.
    network.config.max_position_embeddings = 6
    live, bills, _ = asked(Classifier(saved(network, tmp_path / "short", framed=True), head="token"))
    torch.testing.assert_close(live.turns(script, bills)[0], scores)


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_nothing_said_scores_0_and_costs_nothing(tmp_path: Path, asked: Asked, head: Any) -> None:
    kind = LlamaForTokenClassification if head == "token" else LlamaForSequenceClassification
    live, bills, ledger = asked(Classifier(saved(last_word(kind, [[1.0] * 4]), tmp_path), head=head))
    quiet: list[Talk] = [[], [[]], [[("", "")]]]
    for talk in quiet:
        script = transcript(words_tokenizer(), talk)
        scores, whole = live.turns(script, bills), live.rollouts(script, bills)
        assert scores.shape == script.rollouts.turn_mask.shape
        assert whole.shape == (len(talk),)
        assert not scores.any()
        assert not whole.any()
    assert ledger == Ledger()
    with pytest.raises(UserError, match="no votes"):
        live.marks(transcript(words_tokenizer(), TALK), 2, bills)


def test_a_run_reaches_it_through_billed_calls_only(tmp_path: Path, model: LanguageModel, panel: Panel) -> None:
    source = saved(last_word(LlamaForTokenClassification, [[1.0] * 4]), tmp_path)
    form, ledger = prompt_form("windowed", model.tokenizer, 2), Ledger()
    live = Classifier(source, head="token", longest_tokens=64).open(Site(model, form, panel.train, 0))
    services = TabularServices(
        Models(model, model, None, live), form, ledger, frozenset({"prm", "reward_model"}),
        instances=panel.train[:1], group_size=2, seed=(0, 0),
    )  # fmt: skip
    assert isinstance(services.door, Door)
    with stage():
        batch = services.door.rollouts()
        scores = services.door.turn_scores(batch)
    assert ledger.scored_tokens > 0
    # Words that this tokenizer does not know are all one token to it: the same score everywhere.
    batch = batch.replace(needs=None)
    assert scores[batch.turn_mask].unique().numel() == 1
    script = transcript(words_tokenizer(), TALK)
    with stage(), pytest.raises(UnbilledComputeError):
        live.turns(script, Bills(ledger, model.cost))


def test_the_weights_are_in_the_specification(tmp_path: Path, asked: Asked) -> None:
    source = saved(last_word(LlamaForSequenceClassification, [[1.0] * 4]), tmp_path)
    described = describe_scorer(Classifier(source))
    assert described["scorer"]["fields"]["digest"] == weights_digest(tmp_path)
    named = restore_object(described["scorer"], Scorer)
    assert describe_object(named) == described["scorer"]
    asked(named)
    saved(last_word(LlamaForSequenceClassification, [[2.0] * 4]), tmp_path)
    with pytest.raises(UserError, match="not those of the run"):
        asked(named)
    assert describe_scorer(None) == {}


def _no_folder(folder: Path) -> str:
    return str(folder / "nowhere")


def _pickle(folder: Path) -> str:
    saved(last_word(LlamaForSequenceClassification, [[1.0] * 4]), folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    return str(folder)


def _three_labels(folder: Path) -> str:
    return saved(last_word(LlamaForSequenceClassification, [[1.0] * 4] * 3), folder)


def _no_tokenizer(folder: Path) -> str:
    last_word(LlamaForSequenceClassification, [[1.0] * 4]).save_pretrained(folder)
    return str(folder)


def _no_head(folder: Path) -> str:
    return saved(LlamaForCausalLM(LlamaConfig(**LLAMA)), folder)


def _other_head(folder: Path) -> str:
    network = last_word(LlamaForTokenClassification, [[1.0] * 4])
    network.score = torch.nn.Linear(4, 1, bias=False)  # the same names and shapes as the other kind's
    return saved(network, folder)


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        (_no_folder, "no such model folder"),
        (_pickle, r"no weights \(\*.safetensors\)"),
        (_three_labels, "has 3 labels"),
        (_no_tokenizer, r"no tokenizer \(tokenizer.json\)"),
        (_no_head, "lack score.weight"),
        (_other_head, "no sequence head but is LlamaForTokenClassification"),
    ],
)
def test_a_folder_that_is_no_such_classifier_is_refused(
    tmp_path: Path, asked: Asked, folder: Callable[[Path], str], says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        asked(Classifier(folder(tmp_path)))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"head": "two"}, {"one_label": "tanh"}, {"right_label": 2}, {"batch_size": 0}, {"longest_tokens": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        dataclasses.replace(Classifier("somewhere"), **wrong)
