//! Texts as open_clip's tokenizer reads them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use rekindle_models::clip::Tokenizer;
use test_support::reference_path;

#[derive(serde::Deserialize)]
struct Text {
    text: String,
    tokens: Vec<u32>,
}

fn agrees(tokenizer: &Tokenizer) {
    let texts = std::fs::read(reference_path("clip/texts.json")).unwrap();
    let texts: Vec<Text> = serde_json::from_slice(&texts).unwrap();
    for Text { text, tokens } in texts {
        assert_eq!(tokenizer.encode(&text).unwrap(), tokens, "{text}");
    }
}

#[test]
fn tokens_are_open_clips_by_either_file() {
    let file = |name: &str| reference_path(&format!("clip/{name}"));
    agrees(&Tokenizer::open(file("tokenizer.json")).unwrap());
    agrees(&Tokenizer::open(file("vocab.json")).unwrap());
    agrees(&Tokenizer::beside(file("model.safetensors")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        std::fs::copy(file(name), folder.path().join(name)).unwrap();
    }
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    agrees(&tokenizer);
    let short = tokenizer
        .with_context(4)
        .encode("a photo of an ant")
        .unwrap();
    assert_eq!(short, [49406, 320, 1125, 49407]);
}

#[test]
fn the_original_archive_numbers_tokens_by_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bpe_simple_vocab_16e6.txt.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut gz = GzEncoder::new(file, Compression::fast());
    gz.write_all(b"\"bpe_simple_vocab_16e6.txt#version: 0.2\na n\nan t</w>\n")
        .unwrap();
    gz.finish().unwrap();
    let tokenizer = Tokenizer::beside(folder.path().join("weights.pt")).unwrap();
    // `!` is the first of 256 bytes, which come once more as ends of words.
    let found = tokenizer.encode("ANT !a").unwrap();
    assert_eq!(found, [514, 513, 256, 256 + 64, 515]);
    std::fs::write(&path, b"no archive").unwrap();
    assert!(Tokenizer::open(&path).is_err());
}

#[test]
fn what_is_looked_for_is_said_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::beside(folder.path().join("a.pt"))
        .unwrap_err()
        .to_string();
    for name in [
        "tokenizer.json",
        "vocab.json with merges.txt",
        "bpe_simple_vocab_16e6.txt.gz",
    ] {
        assert!(error.contains(name), "{error}");
    }
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, "{}").unwrap();
    let error = Tokenizer::open(&path).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: "), "{error}");
}

#[test]
#[ignore = "REKINDLE_CLIP_VOCABULARY names OpenAI's bpe_simple_vocab_16e6.txt.gz"]
fn tokens_are_open_clips_by_the_whole_vocabulary() {
    let path = std::env::var("REKINDLE_CLIP_VOCABULARY").expect("REKINDLE_CLIP_VOCABULARY");
    agrees(&Tokenizer::open(path).unwrap());
}
