//! Parses the hub's description of a repository: its commit and its files.

use serde::Deserialize;

use crate::error::RepositoryError;
use crate::repository::{USUAL, USUAL_OF_PYTORCH, fault_of_file, is_commit};
use crate::{Error, Repository};

/// The files of a repository at a commit.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    files: Vec<File>,
}

/// A file as the hub describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) size: Option<u64>,
    /// 64 hexadecimal digits; small texts have none.
    pub(super) sha256: Option<String>,
}

/// The answer of `/api/models/OWNER/NAME/revision/REVISION?blobs=true`, as far as it matters.
#[derive(Deserialize)]
struct Answer {
    sha: Option<String>,
    siblings: Option<Vec<Sibling>>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listing {
    /// Reads an answer; `from` is its address or the file that kept it.
    pub(super) fn read(answer: &[u8], from: &str) -> Result<Self, Error> {
        let invalid = |detail: String| RepositoryError::InvalidAnswer {
            from: from.to_string(),
            detail,
        };
        let answer: Answer =
            serde_json::from_slice(answer).map_err(|error| invalid(error.to_string()))?;
        let Some(commit) = answer.sha.filter(|sha| is_commit(sha)) else {
            return Err(invalid("`sha` is no commit of 40 hexadecimal digits".to_string()).into());
        };
        let siblings = answer.siblings.unwrap_or_default();
        // What could not be a file of its own in the cache is not for us.
        let siblings = siblings
            .into_iter()
            .filter(|sibling| fault_of_file(&sibling.rfilename).is_none());
        let files = siblings.map(|sibling| {
            let (sha256, size) = match sibling.lfs {
                Some(blob) => (blob.sha256, blob.size),
                None => (None, None),
            };
            let is_digest = |text: &String| {
                text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            if let Some(odd) = sha256.as_ref().filter(|text| !is_digest(text)) {
                let name = &sibling.rfilename;
                return Err(invalid(format!("{odd:?} of {name:?} is no SHA-256")));
            }
            Ok(File {
                path: sibling.rfilename,
                size: size.or(sibling.size),
                sha256,
            })
        });
        Ok(Self {
            commit: commit.to_ascii_lowercase(),
            files: files.collect::<Result<_, _>>()?,
        })
    }

    /// Chooses the file of weights: the one that is named, else `model.safetensors`, else the only other safetensors,
    /// else `pytorch_model.bin`, else the only other file of PyTorch's.
    pub(super) fn weights(&self, repository: &Repository) -> Result<&File, RepositoryError> {
        if let Some(name) = repository.file() {
            return self.named(name, repository);
        }
        let at_top: Vec<&File> = self.files.iter().filter(|file| file.is_at_top()).collect();
        let mut in_parts = None;
        for (usual, endings) in [SAFETENSORS, PYTORCH] {
            let files: Vec<&File> = at_top
                .iter()
                .filter(|file| file.could_be_weights(endings))
                .copied()
                .collect();
            if let Some(file) = files.iter().find(|file| file.path == usual) {
                return Ok(file);
            }
            if let Some(part) = files.iter().find(|file| is_part(&file.path)) {
                // Another one beside them would be an adapter or the like.
                in_parts.get_or_insert(*part);
                continue;
            }
            match files[..] {
                [] => {}
                [file] => return Ok(file),
                _ => return Err(several(&files, repository)),
            }
        }
        if let Some(part) = in_parts {
            return Err(sharded(&part.path, repository));
        }
        let deeper = self.candidates();
        match deeper[..] {
            [] => Err(RepositoryError::NoWeights {
                repository: repository.to_string(),
                files: self.files.iter().map(|file| file.path.clone()).collect(),
            }),
            _ => Err(several(&deeper, repository)),
        }
    }

    /// Returns the file of this name in the folder of another.
    pub(super) fn beside(&self, file: &File, name: &str) -> Option<&File> {
        let path = match file.path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.to_string(),
        };
        self.files.iter().find(|other| other.path == path)
    }

    fn named(&self, name: &str, repository: &Repository) -> Result<&File, RepositoryError> {
        if is_part(name) || name.ends_with(".index.json") {
            return Err(sharded(name, repository));
        }
        let found = self.files.iter().find(|file| file.path == name);
        found.ok_or_else(|| {
            let known = match &self.candidates()[..] {
                [] => self.files.iter().map(|file| file.path.clone()).collect(),
                some => some.iter().map(|file| file.path.clone()).collect(),
            };
            RepositoryError::NoSuchFile {
                repository: repository.to_string(),
                file: name.to_string(),
                known,
            }
        })
    }

    /// Lists all that could be weights, in whatever folder.
    fn candidates(&self) -> Vec<&File> {
        let endings = [SAFETENSORS.1, PYTORCH.1].concat();
        let is_whole = |file: &&File| file.could_be_weights(&endings) && !is_part(&file.path);
        self.files.iter().filter(is_whole).collect()
    }
}

/// The usual name of each kind of file, and the endings of all.
const SAFETENSORS: (&str, &[&str]) = (USUAL, &["safetensors"]);
const PYTORCH: (&str, &[&str]) = (USUAL_OF_PYTORCH, &["bin", "pth", "pt", "ckpt"]);

/// Prefixes of files that trainers leave beside weights.
const NO_WEIGHTS: [&str; 6] = [
    "training_args.",
    "optimizer.",
    "scheduler.",
    "scaler.",
    "rng_state",
    "random_states",
];

impl File {
    fn is_at_top(&self) -> bool {
        !self.path.contains('/')
    }

    fn could_be_weights(&self, endings: &[&str]) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| endings.contains(&ending))
            && !NO_WEIGHTS.iter().any(|start| name.starts_with(start))
    }
}

/// Returns true for `model-00001-of-00003.safetensors`.
fn is_part(path: &str) -> bool {
    let Some((stem, _)) = path.rsplit_once('.') else {
        return false;
    };
    let is_number = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = stem.rsplit('-');
    let last = [words.next(), words.next(), words.next()];
    matches!(last, [Some(count), Some("of"), Some(index)] if is_number(count) && is_number(index))
}

fn sharded(file: &str, repository: &Repository) -> RepositoryError {
    RepositoryError::Sharded {
        repository: repository.to_string(),
        file: file.to_string(),
    }
}

fn several(files: &[&File], repository: &Repository) -> RepositoryError {
    let first = files.first().map_or("FILE", |file| &file.path);
    RepositoryError::SeveralFiles {
        repository: repository.to_string(),
        files: files.iter().map(|file| file.path.clone()).collect(),
        example: format!("{repository}:{first}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn listing(files: &[&str]) -> Listing {
        let siblings: Vec<_> = files
            .iter()
            .map(|file| serde_json::json!({"rfilename": file}))
            .collect();
        let answer = serde_json::json!({"sha": COMMIT, "siblings": siblings, "tags": [1, null]});
        Listing::read(answer.to_string().as_bytes(), "there").unwrap()
    }

    fn chosen(text: &str, files: &[&str]) -> Result<String, RepositoryError> {
        let listing = listing(files);
        let file = listing.weights(&text.parse().unwrap());
        file.map(|file| file.path.clone())
    }

    #[test]
    fn the_file_of_weights_is_the_usual_one_or_the_only_one() {
        for (files, expected) in [
            (
                &["b.safetensors", "model.safetensors", "pytorch_model.bin"][..],
                "model.safetensors",
            ),
            (
                &["b.safetensors", "pytorch_model.bin", "x/model.safetensors"],
                "b.safetensors",
            ),
            (&["a.pth", "pytorch_model.bin"], "pytorch_model.bin"),
            (
                &["a.pth", "training_args.bin", "optimizer.pt", "README.md"],
                "a.pth",
            ),
            (&["epoch=3.ckpt", "events.log"], "epoch=3.ckpt"),
            (
                &[
                    "model-00001-of-00002.safetensors",
                    "adapter.safetensors",
                    "pytorch_model.bin",
                ],
                "pytorch_model.bin",
            ),
        ] {
            assert_eq!(chosen("hf:o/n", files).unwrap(), expected);
        }
        let named = chosen("hf:o/n:x/b.pth", &["model.safetensors", "x/b.pth"]);
        assert_eq!(named.unwrap(), "x/b.pth");
    }

    #[test]
    fn what_cannot_be_chosen_is_listed() {
        let refused = |text: &str, files: &[&str]| chosen(text, files).unwrap_err();
        let error = refused("hf:o/n@v1", &["a.safetensors", "b.safetensors", "c.pth"]);
        assert!(
            matches!(&error, RepositoryError::SeveralFiles { files, example, .. }
                if files == &["a.safetensors", "b.safetensors"] && example == "hf:o/n@v1:a.safetensors"),
            "{error:?}"
        );
        let error = refused("hf:o/n", &["README.md", "x/a.pth"]);
        assert!(error.to_string().contains("hf:o/n:x/a.pth"), "{error}");
        let parts = [
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
        ];
        for text in ["hf:o/n", "hf:o/n:model-00001-of-00002.safetensors"] {
            let error = refused(text, &parts);
            assert!(
                matches!(error, RepositoryError::Sharded { .. }),
                "{error:?}"
            );
        }
        let table = ["data-00001-of-00002.arrow"];
        let error = refused("hf:o/n", &table);
        assert!(
            matches!(error, RepositoryError::NoWeights { .. }),
            "{error:?}"
        );
        let error = refused("hf:o/n", &["README.md", "model.onnx"]);
        assert!(error.to_string().contains("README.md"), "{error}");
        let error = refused("hf:o/n:b.pth", &["a.pth", "README.md"]);
        assert!(
            matches!(&error, RepositoryError::NoSuchFile { known, .. } if known == &["a.pth"]),
            "{error:?}"
        );
    }

    #[test]
    fn answers_of_any_content_are_read_or_refused() {
        for answer in [
            "",
            "null",
            "[]",
            "{}",
            "{\"sha\": 7}",
            "{\"sha\": \"../../etc\", \"siblings\": []}",
        ] {
            let error = Listing::read(answer.as_bytes(), "there").unwrap_err();
            assert!(error.to_string().starts_with("there "), "{error}");
        }
        let answer = format!("{{\"sha\": {COMMIT:?}, \"siblings\": null}}");
        assert_eq!(Listing::read(answer.as_bytes(), "").unwrap().commit, COMMIT);
        let odd = format!(
            "{{\"sha\": {COMMIT:?}, \"siblings\": [{{\"rfilename\": \"a\", \"lfs\": {{\"sha256\": \"0\"}}}}]}}"
        );
        assert!(Listing::read(odd.as_bytes(), "there").is_err());
        let listing = listing(&["../model.safetensors", "/model.safetensors", "a/../b.pth"]);
        assert_eq!(listing.files, []);
    }
}
