//! Texts as tokens, by the vocabulary that the weights were trained with.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::Error;

/// OpenAI's tokenizer: byte pairs of lower-case words (Sennrich et al. 2016, <https://arxiv.org/abs/1508.07909>).
///
/// White space is cleaned up and letters become small, as in open_clip. What it does there besides, the repair of wrongly
/// decoded text (`ftfy`) and of HTML's entities, is not done.
///
/// ```no_run
/// use rekindle_models::clip::Tokenizer;
///
/// let tokenizer = Tokenizer::beside("clip/open_clip_model.safetensors")?;
/// assert_eq!(tokenizer.encode("A photo of an ANT")?, [49406, 320, 1125, 539, 550, 773, 49407]);
/// # Ok::<(), rekindle_models::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    context: usize,
}

const WHOLE: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const ARCHIVE: &str = "bpe_simple_vocab_16e6.txt.gz";

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
const END_OF_WORD: &str = "</w>";

/// Splits what stands between white space into words, numbers and signs.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Merges of the original vocabulary; its archive has more lines.
const MOST_MERGES: usize = 49_152 - 256 - 2;
/// Bytes of an unpacked archive at most.
const LONGEST: u64 = 64 << 20;

impl Tokenizer {
    /// Reads the vocabulary beside a file of weights: `tokenizer.json`, or `vocab.json` with `merges.txt`, or OpenAI's
    /// `bpe_simple_vocab_16e6.txt.gz`.
    ///
    /// # Errors
    ///
    /// [`Error::NoTokenizer`] where there is none of them, and [`Error::Tokenizer`] for one that can't be used.
    pub fn beside(weights: impl AsRef<Path>) -> Result<Self, Error> {
        match weights.as_ref().parent() {
            Some(folder) if !folder.as_os_str().is_empty() => Self::open(folder),
            _ => Self::open("."),
        }
    }

    /// Reads a vocabulary: one of the files that [`beside`](Self::beside) looks for, or a folder with one. A file of another
    /// name is taken for a `tokenizer.json`, or for OpenAI's archive where its name ends in `.gz`.
    ///
    /// # Errors
    ///
    /// As [`beside`](Self::beside).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let is_named = |name: &str| path.file_name().is_some_and(|found| found == name);
        if path.is_dir() {
            return Self::in_folder(path);
        }
        let inner = if path.extension().is_some_and(|ending| ending == "gz") {
            archive(path)
        } else if is_named(VOCABULARY) || is_named(MERGES) {
            pair(
                &path.with_file_name(VOCABULARY),
                &path.with_file_name(MERGES),
            )
        } else {
            tokenizers::Tokenizer::from_file(path)
        };
        let refused = |reason: String| Error::Tokenizer {
            path: path.to_path_buf(),
            reason,
        };
        let mut inner = inner.map_err(|error| refused(error.to_string()))?;
        inner.with_padding(None);
        let unlimited = inner.with_truncation(None);
        unlimited.map_err(|error| refused(error.to_string()))?;
        let special = |token: &str| {
            let number = inner.token_to_id(token);
            number.ok_or_else(|| refused(format!("it has no token {token}")))
        };
        let (start, end) = (special(START)?, special(END)?);
        Ok(Self {
            inner,
            start,
            end,
            context: 77,
        })
    }

    fn in_folder(folder: &Path) -> Result<Self, Error> {
        let file = |name: &str| folder.join(name);
        let ways = [
            (WHOLE, vec![WHOLE]),
            (VOCABULARY, vec![VOCABULARY, MERGES]),
            (ARCHIVE, vec![ARCHIVE]),
        ];
        let mut there = ways
            .iter()
            .filter(|(_, names)| names.iter().all(|name| file(name).is_file()));
        match there.next() {
            Some((name, _)) => Self::open(file(name)),
            None => Err(Error::NoTokenizer {
                folder: folder.to_path_buf(),
                names: ways.map(|(_, names)| names.join(" with ")).to_vec(),
            }),
        }
    }

    /// Sets the number of tokens of a text at most, start and end among them. The default is 77.
    pub fn with_context(self, context: usize) -> Self {
        Self { context, ..self }
    }

    /// Returns the tokens of a text from the start to the end token; a longer text is cut off in front of the end token.
    ///
    /// # Errors
    ///
    /// [`Error::Text`] for what the vocabulary can't say.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let clean = words.join(" ").to_lowercase();
        let found = self.inner.encode(clean, false);
        let found = found.map_err(|error| Error::Text {
            reason: error.to_string(),
        })?;
        let most = self.context.saturating_sub(2);
        let tokens = found.get_ids().iter().copied().take(most);
        let start = std::iter::once(self.start);
        Ok(start.chain(tokens).chain([self.end]).collect())
    }
}

/// Reads Hugging Face's two files.
fn pair(vocabulary: &Path, merges: &Path) -> tokenizers::Result<tokenizers::Tokenizer> {
    let text = |path: &Path| {
        let name = path.to_str();
        name.map(str::to_string)
            .ok_or_else(|| format!("{} is not text", path.display()))
    };
    let bpe = BPE::from_file(&text(vocabulary)?, &text(merges)?)
        .unk_token(END.into())
        .end_of_word_suffix(END_OF_WORD.into())
        .build()?;
    around(bpe)
}

/// Reads OpenAI's archive of merges, whose order numbers the tokens.
fn archive(path: &Path) -> tokenizers::Result<tokenizers::Tokenizer> {
    let mut text = String::new();
    let unpacked = GzDecoder::new(File::open(path)?);
    unpacked.take(LONGEST).read_to_string(&mut text)?;
    let lines = text.lines().skip(1).take(MOST_MERGES);
    let merges: Option<Vec<(String, String)>> = lines
        .map(|line| {
            let (first, second) = line.split_once(' ')?;
            Some((first.to_string(), second.to_string()))
        })
        .collect();
    let merges = merges.ok_or("a line of it is no pair of tokens")?;
    let bytes = alphabet();
    let ends = bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}"));
    let joined = merges
        .iter()
        .map(|(first, second)| format!("{first}{second}"));
    let tokens = bytes.iter().map(char::to_string).chain(ends).chain(joined);
    let tokens = tokens.chain([START, END].map(str::to_string));
    let vocabulary: Vocab = tokens.zip(0u32..).collect();
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .unk_token(END.into())
        .end_of_word_suffix(END_OF_WORD.into())
        .build()?;
    around(bpe)
}

/// Puts around the merges what turns a text into words of letters that stand for bytes.
fn around(bpe: BPE) -> tokenizers::Result<tokenizers::Tokenizer> {
    let pattern = SplitPattern::Regex(WORDS.into());
    let split = Split::new(pattern, SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::new(false, true, false);
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_normalizer(Some(NFC))?;
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
    let special = [START, END].map(|token| AddedToken::from(token, true));
    tokenizer.add_special_tokens(special)?;
    Ok(tokenizer)
}

/// Lists the letters that stand for bytes, in the order of the vocabulary: those that can be seen first.
fn alphabet() -> Vec<char> {
    let is_seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let seen = (0..=255u8).filter(is_seen).map(char::from);
    let others = (0..=255u8).filter(|byte| !is_seen(byte));
    let others = others
        .zip(256u32..)
        .filter_map(|(_, letter)| char::from_u32(letter));
    seen.chain(others).collect()
}
