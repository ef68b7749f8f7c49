//! Defines which of several networks in a file is meant.

/// Chooses a network where a file holds several. By default, the one that fits is taken.
///
/// ```
/// use rekindle_weights::LoadOptions;
///
/// let student = LoadOptions::default().key("student");
/// let query = LoadOptions::default().key("state_dict").prefix("module.encoder_q");
/// # let _ = (student, query);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The entry of the file that is looked into: a key of its dictionary, or several joined by dots.
    pub key: Option<String>,
    /// Prefix of the network's names, or the last parts of it.
    pub prefix: Option<String>,
    /// The node of an ONNX file whose output are the features, or what that output is called.
    pub features_from: Option<String>,
}

impl LoadOptions {
    /// Looks into the entry `key` alone, such as `state_dict_ema`.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            ..self
        }
    }

    /// Takes the network whose names begin with `prefix`, such as `module.encoder_k`.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            prefix: Some(prefix.into()),
            ..self
        }
    }

    /// Takes the output of a node of an ONNX file as features, and leaves what is behind it out.
    pub fn features_from(self, node: impl Into<String>) -> Self {
        Self {
            features_from: Some(node.into()),
            ..self
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn admits(&self, prefix: &str) -> bool {
        let key = self.key.as_deref().map(with_dot).unwrap_or_default();
        let Some(inner) = prefix.strip_prefix(&key) else {
            return false;
        };
        let Some(wanted) = self.prefix.as_deref().map(with_dot) else {
            return true;
        };
        match wanted.is_empty() {
            true => inner.is_empty(),
            false => {
                inner.starts_with(&wanted) || format!(".{inner}").ends_with(&format!(".{wanted}"))
            }
        }
    }

    /// Writes the options as the program `rekindle` takes them.
    pub fn flags(&self) -> String {
        let flag = |name: &str, value: &Option<String>| {
            value
                .as_ref()
                .map(|value| format!("--weights-{name} {value}"))
        };
        let node = self.features_from.as_ref();
        let flags = [
            flag("key", &self.key),
            flag("prefix", &self.prefix),
            node.map(|node| format!("--features-from {node}")),
        ];
        flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn with_dot(part: &str) -> String {
    match part.trim_end_matches('.') {
        "" => String::new(),
        part => format!("{part}."),
    }
}
