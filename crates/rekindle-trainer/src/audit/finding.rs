//! What an audit found.

use std::path::PathBuf;

use rekindle_files::names;
use rekindle_imagefolder::Ignored;
use serde::{Deserialize, Serialize};

/// What is probably wrong with a folder of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Audited {
    /// The parts that were looked at.
    pub parts: Vec<AuditedPart>,
    /// Classes of all parts, sorted by name.
    pub classes: Vec<String>,
    /// The network whose features were compared.
    pub architecture: String,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// Mean log loss of the labels by probes that didn't learn from the image; none where labels weren't judged.
    pub log_loss: Option<f64>,
    /// What was found, by kind, and of each kind the worst first.
    pub findings: Vec<Finding>,
    /// What was not looked for, and why: one sentence each.
    pub notes: Vec<String>,
    /// Files and folders that the scan left out.
    pub ignored: Vec<Ignored>,
}

/// A part of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedPart {
    /// Its name: `train`, `val`, `all`, or a domain's.
    pub name: String,
    /// Its folder.
    #[serde(with = "names::path")]
    pub folder: PathBuf,
    /// Its number of images.
    pub images: usize,
}

/// An image with which something is probably wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The file.
    #[serde(with = "names::path")]
    pub path: PathBuf,
    /// The name of its part.
    pub part: String,
    /// The class that it lies in; none in a folder without classes.
    pub given: Option<String>,
    /// The class that it probably belongs to; for wrong labels.
    pub suggested: Option<String>,
    /// How sure or how bad it is, 0 to 1, the higher the worse; what it measures says [`FindingKind`].
    pub score: f64,
    /// What is wrong.
    pub kind: FindingKind,
    /// The other picture of a pair.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub twin: Option<Twin>,
    /// More for people, such as the reason why a file can't be read.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detail: String,
}

/// The picture that another one is a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// The file.
    #[serde(with = "names::path")]
    pub path: PathBuf,
    /// The name of its part.
    pub part: String,
    /// Its class.
    pub class: Option<String>,
}

/// Kinds of findings, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// It can't be decoded. Score: 1.
    Unreadable,
    /// A copy of it, or nearly one, lies in another part: what is tested on was trained on. Score: similarity.
    Leak,
    /// A copy of it, or nearly one, lies in another class: one of both labels is wrong. Score: similarity.
    Contradiction,
    /// It looks like another class. Score: 1 minus the probability of its label.
    WrongLabel,
    /// A copy of it, or nearly one, lies in the same part and class. Score: similarity.
    Duplicate,
    /// It looks like no other picture. Score: distance of its nearest neighbours, of 1 at most.
    Outlier,
    /// It has one colour. Score: 1.
    Blank,
    /// Nearly all of it is dark. Score: 1 minus the luma of its lights.
    Dark,
    /// Nearly all of it is bright. Score: the luma of its shadows.
    Bright,
    /// It is far less sharp than the others. Score: 1 minus its sharpness as a share of the others' median.
    Blurred,
    /// It is far smaller or larger than the others. Score: 1 minus the ratio of both.
    OddSize,
    /// It is far longer than wide, or wider than long. Score: 1 minus the ratio of its sides.
    OddShape,
}

impl FindingKind {
    /// All kinds, the gravest first.
    pub const ALL: [Self; 12] = [
        Self::Unreadable,
        Self::Leak,
        Self::Contradiction,
        Self::WrongLabel,
        Self::Duplicate,
        Self::Outlier,
        Self::Blank,
        Self::Dark,
        Self::Bright,
        Self::Blurred,
        Self::OddSize,
        Self::OddShape,
    ];

    /// Its name in lists: lower case with underscores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Leak => "leak",
            Self::Contradiction => "contradiction",
            Self::WrongLabel => "wrong_label",
            Self::Duplicate => "duplicate",
            Self::Outlier => "outlier",
            Self::Blank => "blank",
            Self::Dark => "dark",
            Self::Bright => "bright",
            Self::Blurred => "blurred",
            Self::OddSize => "odd_size",
            Self::OddShape => "odd_shape",
        }
    }

    /// Whether it is a fault for certain, and not only a reason to look.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Unreadable | Self::Leak | Self::Contradiction)
    }
}

impl Audited {
    /// The findings of one kind, the worst first.
    pub fn of(&self, kind: FindingKind) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.kind == kind)
    }

    /// Number of images in all parts.
    pub fn images(&self) -> usize {
        self.parts.iter().map(|part| part.images).sum()
    }

    /// Whether nothing was found that is a fault for certain.
    pub fn is_clean(&self) -> bool {
        !self
            .findings
            .iter()
            .any(|finding| finding.kind.is_certain())
    }

    /// Writes the findings as comma-separated values (RFC 4180): `path,given,suggested,score,kind,part,twin` in the first line, then
    /// one line for each, paths [escaped](names::escape).
    pub fn to_csv(&self) -> String {
        let mut lines = String::from("path,given,suggested,score,kind,part,twin\n");
        for finding in &self.findings {
            let twin = finding.twin.as_ref().map(|twin| names::escape(&twin.path));
            let fields = [
                names::escape(&finding.path),
                finding.given.clone().unwrap_or_default(),
                finding.suggested.clone().unwrap_or_default(),
                format!("{:.4}", finding.score),
                finding.kind.name().to_string(),
                finding.part.clone(),
                twin.unwrap_or_default(),
            ];
            let fields = fields.map(|field| quoted(&field));
            lines.push_str(&fields.join(","));
            lines.push('\n');
        }
        lines
    }
}

fn quoted(field: &str) -> String {
    match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_any_name() {
        let finding = Finding {
            path: "a,b/\"c\".jpg".into(),
            part: "train".into(),
            given: Some("ants".into()),
            suggested: Some("bees".into()),
            score: 0.98765,
            kind: FindingKind::WrongLabel,
            twin: None,
            detail: String::new(),
        };
        let audited = Audited {
            findings: vec![finding],
            ..Audited::default()
        };
        let line = "\"a,b/\"\"c\"\".jpg\",ants,bees,0.9877,wrong_label,train,\n";
        assert_eq!(
            audited.to_csv().split_once('\n').map(|(_, rest)| rest),
            Some(line)
        );
        assert!(audited.is_clean());
        for kind in FindingKind::ALL {
            assert_eq!(serde_json::json!(kind), kind.name());
        }
    }
}
