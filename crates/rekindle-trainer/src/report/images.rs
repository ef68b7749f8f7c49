//! The report's figures as files of their own, for slides and scripts.

use std::fs;
use std::path::{Path, PathBuf};

use super::html::Html;
use super::{Report, RunReport, confusion, page, rates, reliability, run, scatter};
use crate::error::TrainerError;
use crate::run_directory::atomic_write;

const STYLE: &str = include_str!("style.css");

impl Report {
    /// Writes every figure into `folder`, which is made where it doesn't exist: charts as SVG, pictures as PNG and
    /// JPEG, and the whole report as `report.json`. Returns the files.
    ///
    /// # Errors
    ///
    /// Those of [`atomic_write`].
    pub fn write_images(&self, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, TrainerError> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| TrainerError::io("create", folder, error))?;
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let mut draw = |name: String, figure: &dyn Fn(&mut Html)| {
            let mut html = Html::new();
            figure(&mut html);
            if let Some(svg) = standalone(&html.into_string()) {
                files.push((format!("{name}.svg"), svg.into_bytes()));
            }
        };
        for (name, chart) in page::charts(&self.runs) {
            draw(name.to_string(), &|html| chart.draw(html));
        }
        for (index, run) in self.runs.iter().enumerate() {
            let name = file_name(index, &run.name);
            let classes = run::class_names(self, run);
            if let Some(evaluation) = &run.evaluation {
                draw(format!("{name}-confusion"), &|html| {
                    confusion::draw(html, &evaluation.confusion, &classes);
                });
                draw(format!("{name}-reliability"), &|html| {
                    reliability::draw(html, &evaluation.calibration, None);
                });
            }
            if let Some(map) = &run.map {
                draw(format!("{name}-features"), &|html| {
                    scatter::plane(html, map, &classes);
                });
            }
            let parts = rates::by_part(run);
            draw(format!("{name}-rates"), &|html| {
                rates::chart(&parts).draw(html)
            });
        }
        files.extend(self.pictures_as_files());
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        files.push(("report.json".into(), json));
        files
            .into_iter()
            .map(|(name, bytes)| {
                let path = folder.join(name);
                atomic_write(&path, |file| Ok(file.write_all(&bytes)?))?;
                Ok(path)
            })
            .collect()
    }

    fn pictures_as_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for (number, picture) in (1..).zip(&self.pictures) {
            files.push((format!("data-{number}.png"), picture.png.clone()));
        }
        for (index, run) in self.runs.iter().enumerate() {
            let name = file_name(index, &run.name);
            for (number, picture) in (1..).zip(&run.pictures) {
                files.push((format!("{name}-picture-{number}.png"), picture.png.clone()));
            }
            for (number, mistake) in (1..).zip(&run.mistakes) {
                let name = format!("{name}-mistake-{number:02}");
                files.push((format!("{name}.jpg"), mistake.picture.clone()));
                files.push((format!("{name}-grad-cam.jpg"), mistake.overlay.clone()));
            }
        }
        files
    }
}

impl RunReport {
    /// Whether this run used nothing of the source: the yardstick for the others.
    pub fn is_from_scratch(&self) -> bool {
        match &self.summary {
            Some(summary) if !summary.strategy.is_empty() => summary.strategy == "scratch",
            _ => self.name == "scratch",
        }
    }
}

/// The first drawing of a figure as a file that needs no page around it.
fn standalone(figure: &str) -> Option<String> {
    let start = figure.find("<svg")? + "<svg".len();
    let end = figure[start..].find("</svg>")? + start;
    let (attributes, content) = figure[start..end].split_once('>')?;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\"{attributes}><style>{STYLE}\
         svg {{ background: var(--page); font-family: sans-serif; }}</style>{content}</svg>\n"
    ))
}

/// A run's number and its name as part of a file name: letters, digits and hyphens.
fn file_name(index: usize, name: &str) -> String {
    let safe: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(60)
        .collect();
    let words: Vec<&str> = safe.split('-').filter(|word| !word.is_empty()).collect();
    let words = words.join("-");
    format!(
        "{}-{}",
        index + 1,
        if words.is_empty() { "run" } else { &words }
    )
}
