"""Makes clip.safetensors and the folder clip: what open_clip says of small CLIPs and of texts, for every clone to agree with.

Weights and images are those of formula.py, images of 32 pixels. Embeddings are of length 1; `logits` are open_clip's
zero-shot ones, `logit_scale.exp() * image @ classes.T`, where a class is the mean of its prompts' embeddings, of length 1 before
and behind the mean. Everything is computed in f64 and stored in f32.

The folder has texts with their tokens, and of the vocabulary only the merges that these texts need, under the vocabulary's own
numbers: as `vocab.json` and `merges.txt`, and as `tokenizer.json`.
"""
import json
import pathlib

import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file

from formula import fill, images

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "clip"
IMAGE = CLIPVisionCfg(layers=5, width=128, patch_size=8, image_size=32)
TEXT = CLIPTextCfg(context_length=11, vocab_size=700, width=64, heads=1, layers=3)
PROMPTS = [
    [[698, 5, 17, 320, 699], [698, 9, 17, 320, 699]],
    [[698, 5, 600, 44, 320, 12, 7, 8, 9, 10, 699], [698, 9, 600, 44, 699]],
    [[698, 699], [698, 1, 699]],
]
TEXTS = [
    "a photo of an ant",
    "a photo of a bee",
    "a photo of a bee, a type of insect.",
    "Ein Bild: 3 Käfer & 1 Ameise!",
    "  A\tblurry   photo\nof the EAGLE, 2024 ",
    "it's the dog's ball; they're 12.5% off -- don't!",
    "naïve café in Ελλάδα, 東京の写真 🐝🐜",
    "",
    "a bad photo of a honeybee-like wasp. " * 12,
]


def rows(texts):
    return torch.tensor([text + [0] * (TEXT.context_length - len(text)) for text in texts])


def numbers(quick_gelu):
    network = fill(CLIP(32, IMAGE, TEXT, quick_gelu=quick_gelu).double()).eval()
    pictures = torch.from_numpy(images(3, 32, 32)).double()
    with torch.no_grad():
        image = network.encode_image(pictures, normalize=True)
        text = network.encode_text(rows([p for c in PROMPTS for p in c]), normalize=True)
        classes = torch.nn.functional.normalize(text.reshape(len(PROMPTS), 2, -1).mean(1), dim=-1)
        logits = network.logit_scale.exp() * image @ classes.T
    name = "quick_gelu" if quick_gelu else "gelu"
    return {f"{name}.image": image, f"{name}.text": text, f"{name}.logits": logits}


def applied(tokenizer, word, merges):
    """Adds the merges that are applied to a word."""
    word = [tokenizer.byte_encoder[b] for b in word.encode()]
    word[-1] += "</w>"
    while len(word) > 1:
        pairs = list(zip(word, word[1:]))
        best = min(pairs, key=lambda pair: tokenizer.bpe_ranks.get(pair, float("inf")))
        if best not in tokenizer.bpe_ranks:
            break
        merges.add(best)
        joined, i = [], 0
        while i < len(word):
            is_it = i + 1 < len(word) and (word[i], word[i + 1]) == best
            joined.append(word[i] + word[i + 1] if is_it else word[i])
            i += 2 if is_it else 1
        word = joined
    return word


def tokenizers():
    tokenizer = SimpleTokenizer()
    merges, used = set(), {"<start_of_text>", "<end_of_text>"}
    for text in TEXTS:
        for word in tokenizer.pat.findall(tokenizer.clean_fn(text)):
            used.update(applied(tokenizer, word, merges))
    merges = sorted(merges, key=tokenizer.bpe_ranks.get)
    for pair in merges:
        used.update([*pair, "".join(pair)])
    called = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {called.get(token, token): tokenizer.encoder[token] for token in used}
    vocabulary = dict(sorted(vocabulary.items(), key=lambda entry: entry[1]))
    merges = [" ".join(pair) for pair in merges]
    FOLDER.mkdir(exist_ok=True)
    write("vocab.json", vocabulary)
    (FOLDER / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    special = [
        {"id": number, "content": token, "special": True, "normalized": False}
        | dict.fromkeys(["single_word", "lstrip", "rstrip"], False)
        for token, number in vocabulary.items()
        if token.startswith("<|")
    ]
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    spaces = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
    model = {"type": "BPE", "unk_token": "<|endoftext|>", "end_of_word_suffix": "</w>"}
    whole = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 77, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, spaces, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": None,
        "model": model | {"vocab": vocabulary, "merges": merges},
    }
    write("tokenizer.json", whole)
    end = vocabulary["<|endoftext|>"]
    tokens = [row[: row.index(end) + 1] for row in tokenizer(TEXTS).tolist()]
    write("texts.json", [{"text": text, "tokens": row} for text, row in zip(TEXTS, tokens)])


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    out = numbers(False) | numbers(True)
    out = {name: value.float().contiguous() for name, value in out.items()}
    by = f"torch {torch.__version__}, open_clip {open_clip.__version__}"
    save_file(out, HERE / "clip.safetensors", {"by": by})
    tokenizers()
