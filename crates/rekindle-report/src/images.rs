//! The report's figures as files of their own, for slides and scripts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::contents::Report;
use crate::html::Html;
use crate::parts::class_names;
use crate::svg::{Entry, label, line, mark, text_width};
use crate::{confusion, curves, numbers, ranking, rates, reliability, scatter};
use rekindle_trainer::TrainerError;
use rekindle_trainer::run_directory::atomic_write;

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
        let mut draw = |name: String, legend: &[Entry], figure: &dyn Fn(&mut Html)| {
            let mut html = Html::new();
            figure(&mut html);
            if let Some(svg) = standalone(&html.into_string(), legend) {
                files.push((format!("{name}.svg"), svg.into_bytes()));
            }
        };
        for (name, chart) in curves::charts(&self.runs) {
            draw(name.to_string(), &chart.legend(), &|html| chart.draw(html));
        }
        for (index, run) in self.runs.iter().enumerate() {
            let name = file_name(index, &run.name);
            let classes = class_names(self, run);
            if let Some(evaluation) = &run.evaluation {
                draw(format!("{name}-confusion"), &[], &|html| {
                    confusion::draw(html, &evaluation.confusion, &classes);
                });
                draw(format!("{name}-reliability"), &[], &|html| {
                    reliability::draw(html, &evaluation.calibration, None);
                });
                let legend = ranking::legend(&evaluation.ranking, &classes);
                for kind in ranking::KINDS.iter().filter(|_| !legend.is_empty()) {
                    draw(format!("{name}-{}", kind.name), &legend, &|html| {
                        ranking::plane(html, kind, &evaluation.ranking, &classes);
                    });
                }
            }
            if let Some(found) = &run.numbers {
                draw(format!("{name}-answers"), &[], &|html| {
                    numbers::scatter(html, found)
                });
                draw(format!("{name}-residuals"), &[], &|html| {
                    numbers::residuals(html, found)
                });
            }
            if let Some(map) = &run.map {
                let legend = scatter::legend(map, &classes);
                draw(format!("{name}-features"), &legend, &|html| {
                    scatter::plane(html, map, &classes);
                });
            }
            let parts = rates::by_part(run);
            let chart = rates::chart(&parts);
            draw(format!("{name}-rates"), &chart.legend(), &|html| {
                chart.draw(html)
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
            let misses = run.numbers.iter().flat_map(|numbers| &numbers.worst);
            for (number, miss) in (1..).zip(misses) {
                files.push((
                    format!("{name}-error-{number:02}.jpg"),
                    miss.picture.clone(),
                ));
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

/// Returns the first drawing of a figure as a file that needs no page around it, with its name above and what its
/// marks stand for below.
fn standalone(figure: &str, legend: &[Entry]) -> Option<String> {
    const ABOVE: f64 = 30.0;
    const LINE: f64 = 22.0;
    let start = figure.find("<svg")? + "<svg".len();
    let end = figure[start..].find("</svg>")? + start;
    let (attributes, content) = figure[start..end].split_once('>')?;
    let value = |name: &str| {
        attributes
            .split_once(&format!(" {name}=\""))?
            .1
            .split('"')
            .next()
    };
    let title = value("aria-label")?;
    let mut size = value("viewBox")?.split(' ').skip(2);
    let (width, height): (f64, f64) = (size.next()?.parse().ok()?, size.next()?.parse().ok()?);

    let mut below = Html::new();
    let (mut x, mut y) = (4.0, height + LINE);
    for entry in legend {
        let wide = 40.0 + text_width(&entry.name, 12.0);
        if x > 4.0 && x + wide > width {
            (x, y) = (4.0, y + LINE);
        }
        match entry.mark {
            Some(index) => mark(&mut below, index, (x + 6.0, y - 4.5), 4.5, ""),
            None => below.void(
                "line",
                &line("axis secondary", x - 2.0, y - 4.5, x + 14.0, y - 4.5),
            ),
        }
        label(&mut below, "legend-name", x + 20.0, y, &entry.name);
        x += wide;
    }
    let tall = ABOVE + if legend.is_empty() { height } else { y + 10.0 };
    let top = -ABOVE;
    let below = below.into_string();
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 {top} {width} {tall}\" width=\"{width}\" \
         height=\"{tall}\" role=\"img\" aria-label=\"{title}\"><style>{STYLE} svg {{ background: var(--page); \
         font-family: sans-serif; }} svg .title {{ font-size: 14px; font-weight: 600; }}</style>\
         <text class=\"title\" x=\"4\" y=\"-12\">{title}</text>{content}{below}</svg>\n"
    ))
}

/// Returns a run's number and name as part of a file name: letters, digits and hyphens.
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
