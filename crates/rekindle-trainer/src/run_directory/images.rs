//! Finds the images of a run again.

use std::path::{Path, PathBuf};

use rekindle_files::names;
use rekindle_imagefolder::{Listing, TableOptions, Task};
use serde::Deserialize;
use serde_json::Value;

use super::{RunDirectory, RunRecord};
use crate::TrainerError;

impl RunDirectory {
    /// Lists the images that the run is about, in the folder or the table of its record. `moved` is where they are, should they
    /// have moved: a folder, a table, or for a table the folder that its names go on from.
    ///
    /// # Errors
    ///
    /// Those of [`Listing::open`], and [`TrainerError::UnusableData`] for a record that names neither, or a place that is not there.
    pub fn listing(&self, moved: Option<&Path>) -> Result<Listing, TrainerError> {
        let RunRecord { data, .. } = self.record();
        let recorded = data["folder"].as_str();
        let recorded = recorded.map(|folder| PathBuf::from(names::unescape(folder)));
        let task = data["task"].as_str().and_then(|name| name.parse().ok());
        let open = |folder: &Path| match task {
            // The sub-folders of some are labels, of which a picture may have several; those of others are in an order.
            Some(task @ (Task::MultiLabel | Task::Ordinal)) if folder.is_dir() => {
                let classes = (task == Task::Ordinal).then(|| Vec::deserialize(&data["classes"]));
                let options = TableOptions {
                    task: Some(task),
                    classes: classes.and_then(Result::ok),
                    ..TableOptions::default()
                };
                Listing::open_table(folder, &options)
            }
            _ => Listing::open(folder),
        };
        Ok(match (moved, table(data), recorded) {
            (Some(moved), Some((_, options)), _) if moved.is_file() => {
                Listing::open_table(moved, &options)?
            }
            (Some(moved), Some((file, options)), _) => {
                let root = Some(moved.to_path_buf());
                Listing::open_table(file, &TableOptions { root, ..options })?
            }
            (Some(moved), None, _) => open(moved)?,
            (None, Some((file, _)), _) if !file.exists() => return Err(self.moved(&file)),
            (None, None, Some(folder)) if !folder.exists() => return Err(self.moved(&folder)),
            (None, Some((file, options)), _) => Listing::open_table(file, &options)?,
            (None, None, Some(folder)) => open(&folder)?,
            (None, None, None) => {
                return Err(TrainerError::UnusableData {
                    what: "data of the run".into(),
                    found: "no folder in its record".into(),
                    advice: "say where the images are",
                });
            }
        })
    }

    /// The error of images that are not where the record has them.
    fn moved(&self, place: &Path) -> TrainerError {
        let from = match place.is_relative() {
            true => " as seen from the working directory",
            false => "",
        };
        TrainerError::UnusableData {
            what: format!("images of the run {}", names::show(self.path())),
            found: format!(
                "its record has them in {}, which is not there{from}",
                names::show(place)
            ),
            advice: "name their folder or table with --data",
        }
    }
}

/// The table that a run was about, and how it was read.
fn table(description: &Value) -> Option<(PathBuf, TableOptions)> {
    let table = description.get("table")?;
    let file = PathBuf::from(names::unescape(table["file"].as_str()?));
    let options = TableOptions::deserialize(&table["options"]).ok()?;
    Some((file, options))
}
