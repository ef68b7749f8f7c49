//! What an audit found, as a page with the pictures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rekindle_files::names;
use rekindle_imagefolder::{DecodeOptions, decode_file};
use rekindle_trainer::run_directory::{RunRecord, atomic_write};
use rekindle_trainer::{Audited, Finding, FindingKind, TrainerError, text};

use crate::examine::jpeg;
use crate::html::{Html, at, class};
use crate::page::{head, readable_time};
use crate::parts::{scrolling, unbroken};

/// Findings of one kind that are shown; all of them are in the list.
const SHOWN: usize = 48;

/// Pixels along the longer side of a picture.
const SIDE: u32 = 240;

/// An audit as one HTML file that needs nothing but itself: the pictures are inside, the worst first.
///
/// ```no_run
/// use rekindle_models::Pretrained;
/// use rekindle_report::AuditPage;
/// use rekindle_trainer::Audit;
/// use rekindle_trainer::burn::tensor::Device;
///
/// let device = Device::flex();
/// let pretrained = Pretrained::open("resnet18-f37072fd.pth", &device)?;
/// let audited = Audit::new(&device).run("photos", &pretrained)?;
/// AuditPage::new("photos", audited).write("audit.html")?;
/// # Ok::<(), rekindle_trainer::TrainerError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    title: String,
    created: String,
    audited: Audited,
    /// Small copies as JPEG files; none of a file that can't be decoded.
    pictures: HashMap<PathBuf, Vec<u8>>,
}

impl AuditPage {
    /// Reads the pictures that are to be shown; those that can't be are left out of the page.
    pub fn new(title: impl Into<String>, audited: Audited) -> Self {
        Self::decoded(title, audited, &DecodeOptions::default())
    }

    /// Reads the pictures as [`new`](Self::new) does, where they are not RGB of 8 bits.
    pub fn decoded(title: impl Into<String>, audited: Audited, options: &DecodeOptions) -> Self {
        let mut pictures = HashMap::new();
        for kind in FindingKind::ALL {
            for finding in audited.of(kind).take(SHOWN) {
                let twin = finding.twin.iter().map(|twin| &twin.path);
                for path in std::iter::once(&finding.path).chain(twin) {
                    if !pictures.contains_key(path)
                        && let Some(picture) = small(path, options)
                    {
                        pictures.insert(path.clone(), picture);
                    }
                }
            }
        }
        Self {
            title: title.into(),
            created: RunRecord::new("").created,
            audited,
            pictures,
        }
    }

    /// What the page tells.
    pub fn audited(&self) -> &Audited {
        &self.audited
    }

    /// Returns the page as one HTML document.
    pub fn to_html(&self) -> String {
        let mut html = Html::new();
        html.raw("<!DOCTYPE html>\n");
        html.node("html", &[at("lang", "en")], |html| {
            head(html, &format!("{} · rekindle audit", self.title));
            html.node("body", &[], |html| {
                html.node("main", &[], |html| {
                    self.header(html);
                    for kind in FindingKind::ALL {
                        self.section(html, kind);
                    }
                    self.facts(html);
                });
            });
        });
        let mut page = html.into_string();
        page.push('\n');
        page
    }

    /// Writes the HTML document to a file, replacing an older one at once.
    ///
    /// # Errors
    ///
    /// Those of [`atomic_write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), TrainerError> {
        let html = self.to_html();
        atomic_write(path, |file| Ok(file.write_all(html.as_bytes())?))
    }

    fn header(&self, html: &mut Html) {
        html.node("header", &[], |html| {
            html.node("p", &[class("overline")], |html| {
                html.text("rekindle audit · ");
                html.leaf("time", &[], &readable_time(&self.created));
            });
            html.leaf("h1", &[at("dir", "auto")], &self.title);
            let audited = &self.audited;
            let images = text::counted(audited.images(), "image", "images");
            let said = match audited.findings.len() {
                0 => format!("Nothing was found in {images}."),
                1 => format!("One thing to look at in {images}."),
                count => format!("{} things to look at in {images}.", text::count(count)),
            };
            html.leaf("p", &[class("lead")], &said);
            for note in &audited.notes {
                html.leaf("p", &[class("note")], note);
            }
            if audited.findings.is_empty() {
                return;
            }
            scrolling(html, |html| {
                html.node("table", &[], |html| {
                    for kind in FindingKind::ALL {
                        let count = audited.of(kind).count();
                        if count > 0 {
                            html.node("tr", &[], |html| {
                                html.leaf("td", &[class("number")], &text::count(count));
                                html.node("td", &[], |html| {
                                    let link = format!("#{}", kind.name());
                                    html.leaf("a", &[at("href", link)], heading(kind));
                                });
                            });
                        }
                    }
                });
            });
        });
    }

    fn section(&self, html: &mut Html, kind: FindingKind) {
        let count = self.audited.of(kind).count();
        if count == 0 {
            return;
        }
        html.node("section", &[at("id", kind.name())], |html| {
            html.leaf("h2", &[], heading(kind));
            html.leaf("p", &[class("note")], explanation(kind));
            let is_pair = self.audited.of(kind).any(|finding| finding.twin.is_some());
            let cards = if is_pair { "cards pairs" } else { "cards" };
            html.node("div", &[class(cards)], |html| {
                for finding in self.audited.of(kind).take(SHOWN) {
                    self.card(html, finding);
                }
            });
            if count > SHOWN {
                let more = text::count(count - SHOWN);
                html.leaf(
                    "p",
                    &[class("note")],
                    &format!("{more} more are in the list."),
                );
            }
        });
    }

    fn card(&self, html: &mut Html, finding: &Finding) {
        html.node("figure", &[class("card")], |html| {
            match &finding.twin {
                None => self.picture(html, &finding.path),
                Some(twin) => html.node("div", &[class("twins")], |html| {
                    self.picture(html, &finding.path);
                    self.picture(html, &twin.path);
                }),
            }
            html.node("figcaption", &[], |html| {
                caption(html, finding);
                html.node("code", &[at("title", names::show(&finding.path))], |html| {
                    html.name(&self.short(&finding.path));
                });
                if let Some(twin) = &finding.twin {
                    html.node("code", &[at("title", names::show(&twin.path))], |html| {
                        html.name(&self.short(&twin.path));
                    });
                }
            });
        });
    }

    fn picture(&self, html: &mut Html, path: &Path) {
        html.node("div", &[class("frame-box")], |html| {
            match self.pictures.get(path) {
                Some(jpeg) => {
                    let source = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg));
                    html.void("img", &[at("src", source), at("alt", self.short(path))]);
                }
                None => html.leaf("div", &[class("unread")], "can’t be read"),
            }
        });
    }

    /// A path from its part's folder on, with the part's name where there are several.
    fn short(&self, path: &Path) -> String {
        let of_part = |part: &rekindle_trainer::AuditedPart| {
            let rest = path.strip_prefix(&part.folder).ok()?;
            Some(match self.audited.parts.len() {
                1 => rest.to_path_buf(),
                _ => Path::new(&part.name).join(rest),
            })
        };
        let short = self.audited.parts.iter().find_map(of_part);
        names::escape(short.as_deref().unwrap_or(path))
    }

    fn facts(&self, html: &mut Html) {
        let audited = &self.audited;
        html.node("section", &[], |html| {
            html.leaf("h2", &[], "What was looked at");
            html.node("dl", &[class("facts")], |html| {
                let mut fact = |name: &str, value: &str| {
                    html.leaf("dt", &[], name);
                    html.leaf("dd", &[], value);
                };
                for part in &audited.parts {
                    let images = text::counted(part.images, "image", "images");
                    fact(
                        &part.name,
                        &format!("{images} in {}", names::show(&part.folder)),
                    );
                }
                fact("classes", &text::listed(&audited.classes, 30));
                fact("features", &audited.architecture);
                fact("weights", &format!("SHA-256 {}", audited.weights_sha256));
                if let Some(loss) = audited.log_loss {
                    fact(
                        "log loss of the labels",
                        &format!("{loss:.3}, by probes that didn’t see them"),
                    );
                }
                if !audited.ignored.is_empty() {
                    let files = text::counted(audited.ignored.len(), "entry", "entries");
                    fact("left out by the scan", &files);
                }
            });
        });
    }
}

fn heading(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Unreadable => "Unreadable files",
        FindingKind::Leak => "The same picture in several parts",
        FindingKind::Contradiction => "The same picture in several classes",
        FindingKind::WrongLabel => "Labels that are probably wrong",
        FindingKind::Duplicate => "The same picture again",
        FindingKind::Outlier => "Pictures like no other",
        FindingKind::Blank => "Pictures of one colour",
        FindingKind::Dark => "Dark pictures",
        FindingKind::Bright => "Bright pictures",
        FindingKind::Blurred => "Blurred pictures",
        FindingKind::OddSize => "Unusual sizes",
        FindingKind::OddShape => "Unusual shapes",
    }
}

fn explanation(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Unreadable => "Training leaves them out. Replace or remove them.",
        FindingKind::Leak => {
            "Copies, or nearly so: what is measured on them was learnt from. Keep one of each pair."
        }
        FindingKind::Contradiction => {
            "Copies, or nearly so, under two names, of which one at least is wrong."
        }
        FindingKind::WrongLabel => {
            "A classifier that didn’t learn from the picture takes it for the class in front, and the folder says \
             the other. The number is the probability of what the folder says."
        }
        FindingKind::Duplicate => "Copies, or nearly so, in one class: they count twice.",
        FindingKind::Outlier => {
            "Even the ten pictures most like them are unlike them. The number is their mean distance, 0 to 1."
        }
        FindingKind::Blank => "There is nothing to see.",
        FindingKind::Dark => "Nearly all of the picture is dark.",
        FindingKind::Bright => "Nearly all of the picture is bright.",
        FindingKind::Blurred => "Far less sharp than the other pictures, at the same size.",
        FindingKind::OddSize => "Far smaller or larger than the other pictures.",
        FindingKind::OddShape => {
            "One side is less than a third of the other; most of the picture is cut off."
        }
    }
}

fn caption(html: &mut Html, finding: &Finding) {
    let class_of = |class: &Option<String>| class.clone().unwrap_or_default();
    match (finding.kind, &finding.twin) {
        (FindingKind::WrongLabel, _) => {
            html.named("b", &[], &class_of(&finding.suggested));
            html.text(", said to be ");
            html.named("b", &[], &class_of(&finding.given));
            html.text(&format!(
                " {}",
                unbroken(&text::percent(1.0 - finding.score))
            ));
        }
        (FindingKind::Contradiction, Some(twin)) => {
            html.named("b", &[], &class_of(&finding.given));
            html.text(" and ");
            html.named("b", &[], &class_of(&twin.class));
        }
        (FindingKind::Unreadable, _) => html.text(&finding.detail),
        (FindingKind::Leak | FindingKind::Duplicate, _) => {
            html.text(&format!("similarity {:.3}", finding.score));
        }
        (FindingKind::Outlier, _) => html.text(&format!("distance {:.2}", finding.score)),
        _ => {
            if let Some(class) = &finding.given {
                html.name(class);
            }
        }
    }
}

/// A small copy of a picture.
fn small(path: &Path, options: &DecodeOptions) -> Option<Vec<u8>> {
    let image = decode_file(path, options).ok()?;
    let longer = image.width().max(image.height());
    let side = |side: u32| (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1) as u32;
    if longer <= SIDE {
        return jpeg(&image).ok();
    }
    jpeg(&image::imageops::thumbnail(
        &image,
        side(image.width()),
        side(image.height()),
    ))
    .ok()
}
