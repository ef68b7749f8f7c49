//! The names that libraries give a ResNet's tensors.

/// A way of naming a ResNet's tensors, behind whatever prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `layer1.0.conv1.weight`: torchvision, and all that took its code.
    Torchvision,
    /// `encoder.stages.0.layers.0.layer.0.convolution.weight`: Hugging Face `transformers`, which counts from zero.
    Transformers,
    /// `4.0.conv1.weight`: torchvision's parts in a row, `nn.Sequential(*resnet.children())`.
    Children,
}

impl Layout {
    pub const ALL: [Self; 3] = [Self::Torchvision, Self::Transformers, Self::Children];

    /// Returns the layout's name of a tensor of the trunk, from torchvision's.
    pub fn name_in_file(self, name: &str) -> String {
        match self {
            Self::Torchvision => name.to_string(),
            Self::Transformers => transformers(name).unwrap_or_else(|| name.to_string()),
            Self::Children => children(name).unwrap_or_else(|| name.to_string()),
        }
    }

    /// Beginnings of the names that belong to the trunk: one of these that is unknown is another network's.
    pub fn trunk(self) -> &'static [&'static str] {
        match self {
            Self::Torchvision => &["bn1.", "conv1.", "layer"],
            Self::Transformers => &["embedder.", "encoder."],
            Self::Children => &["0.", "1.", "4.", "5.", "6.", "7."],
        }
    }
}

fn transformers(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("layer") else {
        let (layer, field) = name.split_once('.')?;
        return Some(format!("embedder.embedder.{}.{field}", kind(layer)?));
    };
    let mut parts = rest.splitn(3, '.');
    let (stage, block, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let stage = stage.parse::<usize>().ok()?.checked_sub(1)?;
    let block = format!("encoder.stages.{stage}.layers.{block}");
    if let Some(field) = rest.strip_prefix("downsample.0.") {
        return Some(format!("{block}.shortcut.convolution.{field}"));
    }
    if let Some(field) = rest.strip_prefix("downsample.1.") {
        return Some(format!("{block}.shortcut.normalization.{field}"));
    }
    let (layer, field) = rest.split_once('.')?;
    let number = layer.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number = number.parse::<usize>().ok()?.checked_sub(1)?;
    Some(format!("{block}.layer.{number}.{}.{field}", kind(layer)?))
}

fn kind(layer: &str) -> Option<&'static str> {
    if layer.starts_with("conv") {
        Some("convolution")
    } else if layer.starts_with("bn") {
        Some("normalization")
    } else {
        None
    }
}

/// The children are conv1, bn1, relu, maxpool and four layers.
fn children(name: &str) -> Option<String> {
    let (part, rest) = name.split_once('.')?;
    let index = match part {
        "conv1" => 0,
        "bn1" => 1,
        _ => part.strip_prefix("layer")?.parse::<usize>().ok()? + 3,
    };
    Some(format!("{index}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_libraries() {
        for (name, transformers, children) in [
            (
                "conv1.weight",
                "embedder.embedder.convolution.weight",
                "0.weight",
            ),
            (
                "bn1.running_mean",
                "embedder.embedder.normalization.running_mean",
                "1.running_mean",
            ),
            (
                "layer2.0.downsample.0.weight",
                "encoder.stages.1.layers.0.shortcut.convolution.weight",
                "5.0.downsample.0.weight",
            ),
            (
                "layer2.0.downsample.1.bias",
                "encoder.stages.1.layers.0.shortcut.normalization.bias",
                "5.0.downsample.1.bias",
            ),
            (
                "layer4.2.bn2.weight",
                "encoder.stages.3.layers.2.layer.1.normalization.weight",
                "7.2.bn2.weight",
            ),
        ] {
            assert_eq!(Layout::Torchvision.name_in_file(name), name);
            assert_eq!(Layout::Transformers.name_in_file(name), transformers);
            assert_eq!(Layout::Children.name_in_file(name), children);
        }
    }
}
