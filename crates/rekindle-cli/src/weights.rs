//! The pretrained network: a file, or one of torchvision's by name.

use std::path::PathBuf;

use burn::tensor::Device;
use rekindle::resnet::{Pretrained, weights};
use rekindle::weights::{LoadOptions, NetworkSource};

use crate::arguments::{Candidates, Output, Part, Weights};
use crate::failure::Failure;

impl Part {
    /// The choice, as the library takes it.
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            key: self.weights_key.clone(),
            prefix: self.weights_prefix.clone(),
        }
    }

    /// Refuses a choice among the networks of no file.
    fn needs_a_file(&self, has_file: bool) -> Result<(), Failure> {
        if has_file || self.options() == LoadOptions::default() {
            return Ok(());
        }
        Err(Failure::Usage(
            "--weights-key and --weights-prefix choose a network inside of a file; give it with --weights FILE".into(),
        ))
    }
}

impl Weights {
    /// Reads the file, or downloads what the name says (or finds it in the cache).
    pub fn open(&self, output: &Output, device: &Device) -> Result<Pretrained, Failure> {
        self.part.needs_a_file(self.weights.is_some())?;
        let path = match &self.weights {
            Some(path) => path.clone(),
            None => download(&self.arch, output)?,
        };
        let pretrained = Pretrained::open_with(&path, &self.part.options(), device)?;
        output.note(&format!(
            "{} from {}",
            pretrained.architecture,
            rekindle::files::names::show(&path)
        ));
        note(&pretrained.found, output);
        Ok(pretrained)
    }
}

impl Candidates {
    /// The files, and those of the names. Each is looked into, so that nothing is computed before a refusal.
    pub fn paths(&self, output: &Output) -> Result<Vec<PathBuf>, Failure> {
        self.part.needs_a_file(!self.weights.is_empty())?;
        let mut paths = self.weights.clone();
        if let Some(twice) = (1..paths.len()).find(|at| paths[..*at].contains(&paths[*at])) {
            return Err(Failure::Usage(format!(
                "--weights names {} twice",
                rekindle::files::names::show(&paths[twice])
            )));
        }
        for path in &paths {
            let network = weights::network(&weights::read(path)?, &self.part.options())?;
            if let Some(found) = network.source.note() {
                output.note(&format!("{}: {found}", rekindle::files::names::show(path)));
            }
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

/// Says in one line where in its file a network was, and what was left out.
pub fn note(found: &NetworkSource, output: &Output) {
    if let Some(text) = found.note() {
        output.note(&text);
    }
}

#[cfg(feature = "hub")]
fn download(name: &str, output: &Output) -> Result<PathBuf, Failure> {
    use rekindle::resnet::catalogue;
    use rekindle::weights::hub::{ConsoleProgress, Hub};

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
