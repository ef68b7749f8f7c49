//! Errors of folders of images, said so that a user can act on them.

use std::io;
use std::path::{Path, PathBuf};

use rekindle_files::Pointer;
use rekindle_files::names::{printable, show, spell};

use crate::said::{counted, hexadecimal, left_out, lines_of, list};

/// Any failure of this crate.
///
/// Errors about one file ([`Error::is_bad_file`]) can be skipped with
/// [`OnBadFile::Skip`](crate::OnBadFile::Skip); the others are about the request itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path does not exist or is not a folder.
    #[error(
        "{}: no such folder; give the folder that holds one sub-folder per class",
        show(path)
    )]
    FolderNotFound {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The folder has no sub-folders, so there are no classes.
    #[error(
        "{}: found {} but no class folders; put the images of each class into a folder of their own",
        show(path), match images { 0 => "no images".to_string(), _ => counted(*images, "image", "images") }
    )]
    NoClasses {
        /// The folder.
        path: PathBuf,
        /// Images that lie directly in it.
        images: usize,
    },
    /// Some class folders hold no image with a known extension.
    #[error(
        "{}: no images in the class folders {}; expected files ending in {} (fill the folders or remove them){}",
        show(path), list(classes), extensions.join(", "), left_out(others)
    )]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// The names of the empty classes.
        classes: Vec<String>,
        /// The extensions that are taken.
        extensions: Vec<String>,
        /// Formats of pictures in it that are not taken from folders, and how many there are of each.
        others: Vec<(&'static str, usize)>,
    },
    /// The folder holds no image.
    #[error(
        "{}: no images found; expected files ending in {}{}",
        show(path), extensions.join(", "), left_out(others)
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// The extensions that are taken.
        extensions: Vec<String>,
        /// Formats of pictures in it that are not taken from folders, and how many there are of each.
        others: Vec<(&'static str, usize)>,
    },
    /// A folder holds classes that the given class list does not know.
    #[error(
        "{}: has class folders that are not expected: {}; expected {} (training and validation need the same names)",
        show(path),
        list(unknown),
        list(expected)
    )]
    UnknownClasses {
        /// The folder.
        path: PathBuf,
        /// The folder's classes without a counterpart.
        unknown: Vec<String>,
        /// The list that was given, in label order.
        expected: Vec<String>,
    },
    /// A data set's folder has none that is called like the training or the validation part.
    #[error(
        "{}: found {}, but none of the folders {} (in upper or lower case); rename one, or give the folder that holds \
         one sub-folder per class",
        show(path), if found.is_empty() { "no folders".to_string() } else { list(found) }, expected.join(", ")
    )]
    NoSplit {
        /// The folder.
        path: PathBuf,
        /// The folders found in it.
        found: Vec<String>,
        /// The names that were looked for.
        expected: Vec<String>,
    },
    /// Folders are called like parts of a data set, but it can't be told which is which.
    #[error("{}: found the folders {}, but {reason}", show(path), list(folders))]
    AmbiguousSplit {
        /// The folder that holds them.
        path: PathBuf,
        /// The folders in question.
        folders: Vec<String>,
        /// The ambiguity, and what to do about it.
        reason: String,
    },
    /// The folder holds one folder per domain, and these the classes.
    #[error(
        "{}: holds {}, and in each of these the folders {}; that is one folder per domain, not per class: give one of \
         them, such as {}",
        show(path), list(domains), list(classes),
        show(path.join(domains.first().map_or("", String::as_str)))
    )]
    Domains {
        /// The folder.
        path: PathBuf,
        /// The domains' folders.
        domains: Vec<String>,
        /// The folders that all of them have.
        classes: Vec<String>,
    },
    /// Two class folders have the same name but for how letters and accents are composed.
    #[error(
        "{}: two class folders look the same and are spelled differently, \"{}\" and \"{}\"; merge or rename them",
        show(path), spell(&names[0]), spell(&names[1])
    )]
    SameSpelling {
        /// The folder.
        path: PathBuf,
        /// Their names.
        names: [String; 2],
    },
    /// A table of pictures has no column of that name, or none for what it needs.
    #[error(
        "{}: {wanted}; the columns are {}; name one of them with {option}",
        show(path),
        list(found)
    )]
    TableColumn {
        /// The table.
        path: PathBuf,
        /// What is missing.
        wanted: String,
        /// The columns that there are.
        found: Vec<String>,
        /// The option that names the column.
        option: &'static str,
    },
    /// A line of a table can't be read.
    #[error("{}, line {line}: {}", show(path), printable(reason))]
    TableLine {
        /// The table.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong there, and what was expected.
        reason: String,
    },
    /// Lines of a table say what can't be.
    #[error("{}: {what}: {}; {advice}", show(path), lines_of(lines, *total))]
    TableContent {
        /// The table.
        path: PathBuf,
        /// What is wrong with them.
        what: String,
        /// The first of the lines, counted from 1, and what stands there.
        lines: Vec<(u64, String)>,
        /// How many there are.
        total: usize,
        /// What to do.
        advice: String,
    },
    /// A file that was given as a table is something else.
    #[error("{}: this is {found}, not a table; {advice}", show(path))]
    NotATable {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What to give in its place.
        advice: &'static str,
    },
    /// Too few images to hold some out for validation.
    #[error(
        "{}: {found}, too few to hold some out for validation; {advice}",
        show(path)
    )]
    TooFewToSplit {
        /// The folder or the table.
        path: PathBuf,
        /// How many there are, of what.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A folder or file could not be read.
    #[error("{}: cannot read: {source}", show(path))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("{}: cannot write: {reason}", show(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The file's content has not been fetched.
    #[error("{}: the file is {pointer}", show(path))]
    NotFetched {
        /// The file.
        path: PathBuf,
        /// The pointer that was found instead.
        pointer: Pointer,
    },
    /// The file has no bytes.
    #[error(
        "{}: the file is empty (0 bytes); remove it or fetch it again",
        show(path)
    )]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before the image does.
    #[error(
        "{}: the image is truncated after {bytes} bytes ({reason}); fetch it again",
        show(path)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The file's size.
        bytes: u64,
        /// The part that the decoder missed.
        reason: String,
    },
    /// The content is no image format that is compiled in.
    #[error(
        "{}: the content is no known image format (it begins with {}); \
         expected JPEG, PNG, BMP, PNM, TIFF, WebP or GIF",
        show(path),
        hexadecimal(start)
    )]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// The first bytes, at most eight.
        start: Vec<u8>,
    },
    /// A picture in a format that is not decoded here.
    #[error(
        "{}: {format} pictures are not decoded; convert it to JPEG or PNG, with ImageMagick for instance (magick {} photo.jpg)",
        show(path),
        show(path)
    )]
    Undecoded {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
    },
    /// The decoder refused the content.
    #[error("{}: cannot decode: {reason}", show(path))]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// A kind of picture that is not read, rather than read in other colours.
    #[error("{path}: {found} is not supported; convert it, to PNG for instance")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The kind.
        found: String,
    },
    /// Grey of 16 bits that would come out nearly black in 8 bits.
    #[error(
        "{path}: a grey picture of 16 bits whose values end at {most}, as of a camera of 12 bits, is not supported in 8 bits; \
         give --channels 1 --white 4095 to use its numbers as they are, or convert it"
    )]
    DarkGrey {
        /// The file.
        path: PathBuf,
        /// Its largest number.
        most: u16,
    },
    /// A picture of other channels than the network's.
    #[error(
        "{}: {}, where the network takes {expected}; leave it out, or train with --channels {found} for pictures like it",
        show(path), counted(*found, "channel", "channels")
    )]
    OtherChannels {
        /// The file.
        path: PathBuf,
        /// Channels in the file.
        found: usize,
        /// Channels of the network's input.
        expected: usize,
    },
    /// A picture whose numbers can't reach what white is said to be.
    #[error(
        "{}: the numbers of such a file end at {most}, and white is {white} (--white); convert it to the depth of the others, or leave it out",
        show(path)
    )]
    OtherDepth {
        /// The file.
        path: PathBuf,
        /// The largest number of its type.
        most: f32,
        /// The number that is white.
        white: u32,
    },
    /// The header claims more pixels than the limit.
    #[error(
        "{}: {width} x {height} pixels are more than the limit of {max_pixels}; \
         scale the image down (or raise `DecodeOptions::max_pixels` in a program)",
        show(path)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Claimed width.
        width: u64,
        /// Claimed height.
        height: u64,
        /// [`DecodeOptions::max_pixels`](crate::DecodeOptions::max_pixels).
        max_pixels: u64,
    },
    /// A decoder panicked on this file; the panic was contained.
    #[error(
        "{}: the decoder gave up ({message}); the file is most likely damaged",
        show(path)
    )]
    DecoderPanicked {
        /// The file.
        path: PathBuf,
        /// The panic's message.
        message: String,
    },
    /// A transform's numbers make no sense, or it stands in the wrong place.
    #[error("transform {position} ({name}): {reason}")]
    InvalidTransform {
        /// Position in the pipeline, from zero.
        position: usize,
        /// The transform's name.
        name: &'static str,
        /// The fault, and the expected values.
        reason: String,
    },
    /// The pipeline leaves images of different sizes, which cannot share a batch.
    #[error(
        "the pipeline does not fix the size of its images, so they cannot share a batch; \
         add CenterCrop, RandomResizedCrop or ResizeExact"
    )]
    VariableSize,
    /// An option's value makes no sense.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The value found, and the expected ones.
        reason: String,
    },
    /// Something panicked while a batch was made.
    #[error("making batch {batch} failed unexpectedly: {message}")]
    WorkerPanicked {
        /// The batch's number in its epoch.
        batch: usize,
        /// The panic's message.
        message: String,
    },
    /// A worker thread could not be started.
    #[error("cannot start a worker thread: {source}; use fewer workers, or 0")]
    WorkerNotStarted {
        /// The operating system's reason.
        source: io::Error,
    },
}

/// The place where an error has its cause, and so who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request: a name, a value or a combination of options that there is not.
    InvalidOption,
    /// The images: files, folders and classes that can't be used as they are.
    BadImages,
    /// The work: a file that can't be written, a network, a device, memory.
    Failed,
}

impl Error {
    /// Returns the place where the error has its cause.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidTransform { .. }
            | Self::VariableSize
            | Self::InvalidOption { .. }
            | Self::TableColumn { .. } => ErrorKind::InvalidOption,
            Self::FolderNotFound { .. }
            | Self::NoClasses { .. }
            | Self::EmptyClass { .. }
            | Self::NoImages { .. }
            | Self::UnknownClasses { .. }
            | Self::NoSplit { .. }
            | Self::AmbiguousSplit { .. }
            | Self::Domains { .. }
            | Self::SameSpelling { .. }
            | Self::TableLine { .. }
            | Self::TableContent { .. }
            | Self::NotATable { .. }
            | Self::TooFewToSplit { .. }
            | Self::NotFetched { .. }
            | Self::Read { .. }
            | Self::EmptyFile { .. }
            | Self::Truncated { .. }
            | Self::NotAnImage { .. }
            | Self::Undecodable { .. }
            | Self::Unsupported { .. }
            | Self::DarkGrey { .. }
            | Self::OtherChannels { .. }
            | Self::OtherDepth { .. }
            | Self::Undecoded { .. }
            | Self::TooLarge { .. }
            | Self::DecoderPanicked { .. } => ErrorKind::BadImages,
            Self::Write { .. } | Self::WorkerPanicked { .. } | Self::WorkerNotStarted { .. } => {
                ErrorKind::Failed
            }
        }
    }

    /// Returns true where the error is about one image file, so that a run can go on without it.
    pub fn is_bad_file(&self) -> bool {
        self.bad_file().is_some()
    }

    /// Returns the file that the error is about, where it is about one image file.
    pub fn bad_file(&self) -> Option<&Path> {
        match self {
            Error::Read { path, .. }
            | Error::NotFetched { path, .. }
            | Error::EmptyFile { path }
            | Error::Truncated { path, .. }
            | Error::NotAnImage { path, .. }
            | Error::Undecodable { path, .. }
            | Error::Unsupported { path, .. }
            | Error::DarkGrey { path, .. }
            | Error::OtherChannels { path, .. }
            | Error::OtherDepth { path, .. }
            | Error::Undecoded { path, .. }
            | Error::TooLarge { path, .. }
            | Error::DecoderPanicked { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// The text of a caught panic.
pub(crate) fn panic_message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => (*text).to_string(),
            Err(_) => "no message".to_string(),
        },
    }
}
