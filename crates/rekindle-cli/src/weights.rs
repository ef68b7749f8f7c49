//! The pretrained network: a file, a published one by name, or a repository's.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::models::registry::published;
use rekindle::models::{self, Channels, Options, Preprocess, Pretrained, look};
use rekindle::nn::Graph;
use rekindle::weights::{self, LoadOptions, NetworkSource, Repository};

use crate::arguments::{Candidates, Depth, Output, Part, Weights};
use crate::failure::Failure;

impl Part {
    /// Returns the choice in the library's form.
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            key: self.weights_key.clone(),
            prefix: self.weights_prefix.clone(),
            features_from: self.features_from.clone(),
        }
    }

    /// Refuses a choice among the networks of no file.
    fn needs_a_file(&self, has_file: bool) -> Result<(), Failure> {
        if has_file || self.options() == LoadOptions::default() {
            return Ok(());
        }
        Err(Failure::Usage(
            "--weights-key, --weights-prefix and --features-from choose inside of a file; give it with --weights FILE".into(),
        ))
    }
}

impl Depth {
    /// Returns the channels in the library's form, where `known` are those that a file of weights asks for already: its white goes
    /// on for as many channels. None for RGB of 8 bits.
    pub fn over(self, known: Option<Channels>) -> Result<Option<Channels>, Failure> {
        let count = self.channels.or(known.map(|known| known.count));
        let same = known.filter(|known| Some(known.count) == count);
        let white = self.white.or(same.and_then(|known| known.white));
        match count {
            Some(count) => Ok(Some(Channels { count, white })),
            None if white.is_some() => Err(Failure::Usage(
                "--white is for pictures at the depth of their files; give their number of channels with --channels".into(),
            )),
            None => Ok(None),
        }
    }

    /// Returns the network for pictures of the channels that are given, or as it is.
    pub fn of(self, pretrained: Pretrained) -> Result<Pretrained, Failure> {
        let known = pretrained.preprocess.channels;
        let Some(channels) = self.over(known)?.filter(|all| Some(*all) != known) else {
            return Ok(pretrained);
        };
        let seen = Preprocess {
            channels: Some(channels),
            ..pretrained.preprocess.clone()
        };
        Ok(pretrained.with_preprocess(seen)?)
    }
}

impl Weights {
    /// Returns the name of the weights that are to be downloaded; none where a file is given.
    fn name(&self) -> Option<&str> {
        match &self.weights {
            Some(path) => repository(path),
            None => Some(&self.arch),
        }
    }

    /// Describes the network that is to be downloaded; none where a file or a repository is given, which has to be read
    /// for that.
    pub fn described(&self) -> Result<Option<Graph>, Failure> {
        self.name().map_or(Ok(None), described)
    }

    /// Reads the file, or downloads what the name says (or finds it in the cache).
    pub fn open(&self, output: &Output, device: &Device) -> Result<Pretrained, Failure> {
        self.part.needs_a_file(self.weights.is_some())?;
        let path = match (self.name(), &self.weights) {
            (None, Some(path)) => path.clone(),
            (name, _) => download(name.unwrap_or(&self.arch), output)?,
        };
        let pretrained = Pretrained::open_with(&path, &self.part.options(), device)?;
        let pretrained = self.depth.of(pretrained)?;
        output.note(&format!("{} from {}", pretrained.architecture, show(&path)));
        note(&pretrained.found, output);
        for assumed in &pretrained.assumptions {
            output.note(assumed);
        }
        Ok(pretrained)
    }
}

impl Candidates {
    /// Returns the files, and those of the names. Each is looked into, so that nothing is computed before a refusal.
    pub fn paths(&self, output: &Output) -> Result<Vec<PathBuf>, Failure> {
        self.part.needs_a_file(!self.weights.is_empty())?;
        let given = &self.weights;
        if let Some(twice) = (1..given.len()).find(|at| given[..*at].contains(&given[*at])) {
            return Err(Failure::Usage(format!(
                "--weights names {} twice",
                show(&given[twice])
            )));
        }
        // A name that there is not, or a file that can't be read, is no reason to download the others.
        for name in &self.arch {
            described(name)?;
        }
        for path in given.iter().filter(|path| repository(path).is_none()) {
            self.look(path, output)?;
        }
        let mut paths = Vec::with_capacity(given.len() + self.arch.len());
        for path in given {
            match repository(path) {
                None => paths.push(path.clone()),
                Some(name) => {
                    let path = download(name, output)?;
                    self.look(&path, output)?;
                    paths.push(path);
                }
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

    fn look(&self, path: &Path, output: &Output) -> Result<(), Failure> {
        let network = look(path, &self.part.options())?;
        if let Some(found) = network.source.note() {
            output.note(&format!("{}: {found}", show(path)));
        }
        Ok(())
    }
}

/// Returns the file of weights that is given, or downloads what the name or the repository says.
pub fn path_of(given: Option<&Path>, arch: &str, output: &Output) -> Result<PathBuf, Failure> {
    match given {
        None => download(arch, output),
        Some(path) => match repository(path) {
            Some(name) => download(name, output),
            None => Ok(path.to_path_buf()),
        },
    }
}

/// Describes the network of a name without a download; none for a repository, which has to be read for that. A name that
/// there is not is refused.
fn described(name: &str) -> Result<Option<Graph>, Failure> {
    if Repository::is_meant_by(name) {
        name.parse::<Repository>().map_err(weights::Error::from)?;
        return Ok(None);
    }
    let (model, weights) = published(name)?;
    let graph = (model.describe)(&Options::with_classes(weights.classes));
    Ok(Some(graph.map_err(models::Error::from)?))
}

/// Returns the repository that a value of --weights means; a file of that name goes before.
pub fn repository(path: &Path) -> Option<&str> {
    let text = path.to_str().filter(|text| Repository::is_meant_by(text));
    text.filter(|_| !path.exists())
}

/// Names a file of weights for people: its repository on the Hugging Face hub, or its path.
pub fn show(path: &Path) -> String {
    match Repository::of_cached(path) {
        Some(repository) => repository.to_string(),
        None => rekindle::files::names::show(path),
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
    use rekindle::weights::RemoteFile;
    use rekindle::weights::hub::{ConsoleProgress, Hub};

    let hub = Hub::new()?;
    let fetched = if output.quiet {
        models::fetch(name, &hub, &mut |_| ())?
    } else {
        let title = match Repository::is_meant_by(name) {
            true => name.to_string(),
            false => RemoteFile::from(published(name)?.1).name,
        };
        let mut console = ConsoleProgress::new(title);
        models::fetch(name, &hub, &mut console.reporter())?
    };
    if let Some(text) = &fetched.note {
        output.note(text);
    }
    Ok(fetched.path)
}

#[cfg(not(feature = "hub"))]
fn download(_name: &str, _output: &Output) -> Result<PathBuf, Failure> {
    Err(Failure::Usage(
        "this program was built without downloads (cargo feature \"hub\"); give --weights FILE"
            .into(),
    ))
}
