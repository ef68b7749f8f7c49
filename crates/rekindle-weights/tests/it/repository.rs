//! Names of repositories on the Hugging Face hub.

use rekindle_weights::{Repository, RepositoryNameError};

fn parsed(text: &str) -> Repository {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn names_in_every_form() {
    for (text, short) in [
        ("hf:o/n", "hf:o/n"),
        ("hf:o/n@main", "hf:o/n"),
        ("hf:o/n@refs/pr/1", "hf:o/n@refs/pr/1"),
        ("hf:o/n@v1.0:sub/a.pth", "hf:o/n@v1.0:sub/a.pth"),
        ("hf:o/n:model@2.pth", "hf:o/n:model@2.pth"),
        ("https://huggingface.co/o/n", "hf:o/n"),
        ("https://huggingface.co/o/n/?library=timm#files", "hf:o/n"),
        ("https://hf.co/o/n/tree/main", "hf:o/n"),
        (
            "https://huggingface.co/o/n/tree/refs%2Fpr%2F1",
            "hf:o/n@refs/pr/1",
        ),
        (
            "https://huggingface.co/o/n/blob/main/sub/a.pth",
            "hf:o/n:sub/a.pth",
        ),
        (
            "https://huggingface.co/o/n/resolve/v1/a%20b.pth?download=true",
            "hf:o/n@v1:a b.pth",
        ),
    ] {
        let repository = parsed(text);
        assert_eq!(repository.to_string(), short, "{text}");
        assert_eq!(parsed(short), repository);
    }
    assert!(parsed("hf:o/n@0123456789abcdef0123456789ABCDEF01234567").is_pinned());
    assert!(!parsed("hf:o/n@0123456").is_pinned());
}

#[test]
fn a_place_in_the_cache_tells_the_repository() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let of = |path: &str| Repository::of_cached(path).map(|found| found.to_string());
    let usual = of(&format!("/c/huggingface/o--n.x/{commit}/model.safetensors"));
    assert_eq!(usual, Some(format!("hf:o/n.x@{commit}")));
    let deeper = of(&format!("huggingface/o--n/{commit}/a/b.pth"));
    assert_eq!(deeper, Some(format!("hf:o/n@{commit}:a/b.pth")));
    for path in [
        "model.safetensors".to_string(),
        format!("o--n/{commit}/model.safetensors"),
        format!("hub/o--n/{commit}/model.safetensors"),
        format!("huggingface/o/{commit}/model.safetensors"),
        format!("huggingface/o--n--m/{commit}/model.safetensors"),
        "huggingface/o--n/revisions/main.json".to_string(),
    ] {
        assert_eq!(of(&path), None, "{path}");
    }
}

#[test]
fn what_is_no_name_is_told_apart() {
    let refused = |text: &str| text.parse::<Repository>().unwrap_err();
    for text in [
        "",
        "o/n",
        "hf:",
        "hf:n",
        "hf:a/b/c",
        "https://huggingface.co/",
        "https://huggingface.co/o",
        "https://huggingface.co/o/n/tree",
        "https://huggingface.co/o/n/discussions/1",
        "https://huggingface.co/o/n/tree/main/folder",
        "https://huggingface.co/o/%zz",
        "https://huggingface.co/o/%+1",
        "https://huggingface.co/o/n%F",
        "https://example.org/o/n",
    ] {
        let error = refused(text);
        assert!(
            matches!(error, RepositoryNameError::NotAName { .. }),
            "{text}: {error:?}"
        );
    }
    for (text, wanted) in [
        ("hf:/n", "owner"),
        ("hf:o/", "name"),
        ("hf: o/n", "owner"),
        ("hf:o/n n", "name"),
        ("hf:../n", "owner"),
        ("hf:o/..", "name"),
        ("hf:o/a..b", "name"),
        ("hf:o/a--b", "name"),
        ("hf:o/-n", "name"),
        ("hf:o\\p/n", "owner"),
        ("hf:o/naïve", "name"),
        ("hf:o/n@", "revision"),
        ("hf:o/n@:a.pth", "revision"),
        ("hf:o/n@a b", "revision"),
        ("hf:o/n@../x", "revision"),
        ("hf:o/n@a//b", "revision"),
        ("hf:o/n@-x", "revision"),
        ("hf:o/n@a%2fb", "revision"),
        ("hf:o/n:", "file"),
        ("hf:o/n:/etc/passwd", "file"),
        ("hf:o/n:../a.pth", "file"),
        ("hf:o/n:a\\b.pth", "file"),
        ("hf:o/n:a\nb.pth", "file"),
        ("https://huggingface.co/o/n/blob/main/%2e%2e/x", "file"),
    ] {
        match refused(text) {
            RepositoryNameError::InvalidPart { role, .. } => assert_eq!(role, wanted, "{text}"),
            error => panic!("{text}: {error:?}"),
        }
    }
    for text in [
        "hf:datasets/o/n",
        "https://huggingface.co/datasets/o/n",
        "https://huggingface.co/spaces/o/n",
    ] {
        let error = refused(text);
        assert!(
            matches!(error, RepositoryNameError::NotAModel { .. }),
            "{text}: {error:?}"
        );
    }
    for text in ["hf:o/n", "https://hf.co/o", "hf:"] {
        assert!(Repository::is_meant_by(text), "{text}");
    }
    for text in ["hf", "resnet18", "timm/resnet18", "C:/hf:o/n"] {
        assert!(!Repository::is_meant_by(text), "{text}");
    }
}
