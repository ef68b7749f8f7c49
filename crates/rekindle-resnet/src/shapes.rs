//! Names and shapes of a ResNet's tensors, computed from its configuration alone.

use crate::{BlockKind, ResNetConfig};

impl ResNetConfig {
    /// Names and shapes of all tensors but the head's and the counters of batches, in the module's order, without making
    /// room for any. Extents that no network can have are saturated.
    pub(crate) fn trunk_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = vec![(
            "conv1.weight".to_string(),
            vec![self.stem_width, self.in_channels, 7, 7],
        )];
        batch_norm(&mut shapes, "bn1", self.stem_width);
        let mut inputs = self.stem_width;
        for (stage, blocks) in self.layers.into_iter().enumerate() {
            let planes = self.stem_width.saturating_mul(1 << stage);
            let outputs = planes.saturating_mul(self.block.expansion());
            let width =
                (planes.saturating_mul(self.width_per_group) / 64).saturating_mul(self.groups);
            for block in 0..blocks {
                let name = format!("layer{}.{block}", stage + 1);
                let layers = match self.block {
                    BlockKind::Basic => vec![(planes, inputs, 3), (planes, planes, 3)],
                    BlockKind::Bottleneck => vec![
                        (width, inputs, 1),
                        (width, width / self.groups.max(1), 3),
                        (outputs, width, 1),
                    ],
                };
                for (number, (to, from, side)) in (1..).zip(layers) {
                    let shape = vec![to, from, side, side];
                    shapes.push((format!("{name}.conv{number}.weight"), shape));
                    batch_norm(&mut shapes, &format!("{name}.bn{number}"), to);
                }
                let is_strided = block == 0 && stage > 0;
                if is_strided || inputs != outputs {
                    let shape = vec![outputs, inputs, 1, 1];
                    shapes.push((format!("{name}.downsample.0.weight"), shape));
                    batch_norm(&mut shapes, &format!("{name}.downsample.1"), outputs);
                }
                inputs = outputs;
            }
        }
        shapes
    }
}

fn batch_norm(shapes: &mut Vec<(String, Vec<usize>)>, name: &str, width: usize) {
    for field in ["weight", "bias", "running_mean", "running_var"] {
        shapes.push((format!("{name}.{field}"), vec![width]));
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::prelude::*;

    use crate::{Architecture, state_dict};

    #[test]
    fn shapes_are_those_of_the_module() {
        for architecture in Architecture::ALL {
            let config = architecture
                .config()
                .with_stem_width(16)
                .with_in_channels(1)
                .with_num_classes(0);
            let mut module = state_dict::shapes(&config.init(&Device::flex()));
            let mut computed = config.trunk_shapes();
            module.sort();
            computed.sort();
            assert_eq!(computed, module, "{architecture}");
        }
    }
}
