use std::path::PathBuf;

use rekindle::files::names::{escape, printable, show};
use rekindle::imagefolder::{DecodeOptions, Layout, Listing};
use rekindle::report::AuditPage;
use rekindle::trainer::{Audited, Finding, FindingKind, Interrupt, atomic_write};
use serde_json::{Map, json};

use crate::arguments::{Audit, Output};
use crate::checks;
use crate::console::counted;
use crate::failure::{Failure, Outcome};
use crate::tables::name_of;

/// Findings of one kind that are printed; the list has all.
const SHOWN: usize = 10;

pub fn run(command: &Audit, output: Output) -> Result<Outcome, Failure> {
    if command.data.is_file() {
        return Err(Failure::Usage(format!(
            "audit judges the classes of a folder of images, and {} is a file; give the folder, since labels and numbers of \
             tables are not judged",
            show(&command.data)
        )));
    }
    checks::images(&command.data)?;
    let list = list(command)?;
    for (option, path) in [("--out", &command.out), ("--list", &list)] {
        checks::outside(option, path, &command.data)?;
        checks::file(path)?;
    }
    if let Some(kept) = &command.looking.cache {
        checks::outside("--cache", kept, &command.data)?;
        checks::folder(kept)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.looking.device.open()?;
    output.layout(&Listing::Folder(Layout::find(&command.data)?), "");
    let pretrained = command.weights.open(&output, &device)?;
    let mut audit = rekindle::trainer::Audit::new(&device)
        .workers(command.looking.workers)
        .interrupt(interrupt)
        .observer(output.observer());
    if let Some(folder) = &command.looking.cache {
        audit = audit.cache(folder);
    }
    let audited = audit.run(&command.data, &pretrained)?;
    let csv = audited.to_csv();
    atomic_write(&list, |file| Ok(file.write_all(csv.as_bytes())?))?;
    let page = AuditPage::decoded(
        escape(name_of(&command.data)),
        audited,
        &DecodeOptions::from(&pretrained.preprocess),
    );
    page.write(&command.out)?;

    let audited = page.audited();
    let mut json = json!(audited);
    json["page"] = json!(escape(&command.out));
    json["list"] = json!(escape(&list));
    json["clean"] = json!(audited.is_clean());
    json["counts"] = counts(audited)
        .into_iter()
        .map(|(kind, count)| (kind.name().to_string(), json!(count)))
        .collect::<Map<_, _>>()
        .into();
    output.result(&json, || {
        let mut lines = summary(audited);
        lines.push(format!("page: {}", show(&command.out)));
        lines.push(format!("list: {}", show(&list)));
        lines.join("\n")
    });
    Ok(match audited.is_clean() {
        true => Outcome::Done,
        false => Outcome::BadData,
    })
}

/// The place of the list, which is not the page's.
fn list(command: &Audit) -> Result<PathBuf, Failure> {
    let list = match &command.list {
        Some(list) => list.clone(),
        None => command.out.with_extension("csv"),
    };
    match list == command.out {
        true => Err(Failure::Usage(format!(
            "--out and --list both name {}; give two names",
            show(&list)
        ))),
        false => Ok(list),
    }
}

fn counts(audited: &Audited) -> Vec<(FindingKind, usize)> {
    let counts = FindingKind::ALL.map(|kind| (kind, audited.of(kind).count()));
    counts.into_iter().collect()
}

fn summary(audited: &Audited) -> Vec<String> {
    let found = counts(audited);
    let told: Vec<String> = found
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.name().replace('_', " ")))
        .collect();
    let told = match told.is_empty() {
        true => "nothing found".to_string(),
        false => told.join(", "),
    };
    let images = counted(audited.images(), "image", "images");
    let mut lines = vec![format!("{images}: {told}")];
    lines.extend(audited.notes.iter().map(|note| printable(note)));
    for (kind, count) in found {
        lines.extend(audited.of(kind).take(SHOWN).map(line));
        if count > SHOWN {
            let more = count - SHOWN;
            lines.push(format!(
                "{}: {more} more in the list",
                kind.name().replace('_', " ")
            ));
        }
    }
    lines
}

fn line(finding: &Finding) -> String {
    let kind = finding.kind.name().replace('_', " ");
    let path = show(&finding.path);
    match (&finding.suggested, &finding.twin) {
        (Some(suggested), _) => format!(
            "{kind}: {path} looks like {} ({:.3})",
            printable(suggested),
            finding.score
        ),
        (None, Some(twin)) => format!(
            "{kind}: {path} and {} ({:.3})",
            show(&twin.path),
            finding.score
        ),
        (None, None) if !finding.detail.is_empty() => {
            format!("{kind}: {}", printable(&finding.detail))
        }
        (None, None) => format!("{kind}: {path} ({:.3})", finding.score),
    }
}
