//! The pretrained network: a file, or one of torchvision's by name.

use std::path::PathBuf;

use burn::tensor::Device;
use rekindle::resnet::Pretrained;

use crate::arguments::{Candidates, Output, Weights};
use crate::failure::Failure;

impl Weights {
    /// Reads the file, or downloads what the name says (or finds it in the cache).
    pub fn open(&self, output: &Output, device: &Device) -> Result<Pretrained, Failure> {
        let path = match &self.weights {
            Some(path) => path.clone(),
            None => download(&self.arch, output)?,
        };
        let pretrained = Pretrained::open(&path, device)?;
        output.note(&format!(
            "{} from {}",
            pretrained.architecture,
            rekindle::files::names::show(&path)
        ));
        Ok(pretrained)
    }
}

impl Candidates {
    /// The files, and those of the names.
    pub fn paths(&self, output: &Output) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = self.weights.clone();
        if let Some(twice) = (1..paths.len()).find(|at| paths[..*at].contains(&paths[*at])) {
            return Err(Failure::Usage(format!(
                "--weights names {} twice",
                paths[twice].display()
            )));
        }
        for name in &self.arch {
            paths.push(download(name, output)?);
        }
        if paths.is_empty() {
            paths.push(download("resnet18", output)?);
        }
        Ok(paths)
    }
}

#[cfg(feature = "hub")]
fn download(name: &str, output: &Output) -> Result<PathBuf, Failure> {
    use rekindle::resnet::catalogue;
    use rekindle::resnet::hub::{ConsoleProgress, Hub};

    let (architecture, entry) = name.split_once('.').unwrap_or((name, "DEFAULT"));
    let entry = catalogue::find(architecture, entry)?;
    let hub = Hub::new()?;
    if output.quiet {
        return Ok(hub.weights(entry, &mut |_| ())?);
    }
    let mut console = ConsoleProgress::new(entry.file);
    Ok(hub.weights(entry, &mut console.reporter())?)
}

#[cfg(not(feature = "hub"))]
fn download(_name: &str, _output: &Output) -> Result<PathBuf, Failure> {
    Err(Failure::Usage(
        "this program was built without downloads (cargo feature \"hub\"); give --weights FILE"
            .into(),
    ))
}
