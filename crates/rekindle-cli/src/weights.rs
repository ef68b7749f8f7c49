//! The pretrained network: a file, or one of torchvision's by name.

use burn::tensor::Device;
use rekindle::resnet::Pretrained;

use crate::arguments::{Output, Weights};
use crate::failure::Failure;

impl Weights {
    /// Reads the file, or downloads what the name says (or finds it in the cache).
    pub fn open(&self, output: &Output, device: &Device) -> Result<Pretrained, Failure> {
        let path = match &self.weights {
            Some(path) => path.clone(),
            None => self.download(output)?,
        };
        let pretrained = Pretrained::open(&path, device)?;
        output.note(&format!(
            "{} from {}",
            pretrained.architecture,
            path.display()
        ));
        Ok(pretrained)
    }

    #[cfg(feature = "hub")]
    fn download(&self, output: &Output) -> Result<std::path::PathBuf, Failure> {
        use rekindle::resnet::catalogue;
        use rekindle::resnet::hub::{ConsoleProgress, Hub};

        let (architecture, name) = self.arch.split_once('.').unwrap_or((&self.arch, "DEFAULT"));
        let entry = catalogue::find(architecture, name)?;
        let hub = Hub::new()?;
        if output.quiet {
            return Ok(hub.weights(entry, &mut |_| ())?);
        }
        let mut console = ConsoleProgress::new(entry.file);
        Ok(hub.weights(entry, &mut console.reporter())?)
    }

    #[cfg(not(feature = "hub"))]
    fn download(&self, _output: &Output) -> Result<std::path::PathBuf, Failure> {
        Err(Failure::Usage(
            "this program was built without downloads (cargo feature \"hub\"); give --weights FILE"
                .into(),
        ))
    }
}
