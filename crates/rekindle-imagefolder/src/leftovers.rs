//! Recognizes files and folders that NAS and desktop systems leave between pictures: previews, bins, indices.

use std::ffi::OsStr;

/// Names of such folders and files, beside those that begin with a dot; upper and lower case are the same.
const NAMES: [&str; 18] = [
    // Synology, QNAP
    "@eaDir",
    "@tmp",
    "#recycle",
    "#snapshot",
    "@Recycle",
    "@Recently-Snapshot",
    // macOS, in archives and on shares
    "__MACOSX",
    "Network Trash Folder",
    "Temporary Items",
    "TheVolumeSettingsFolder",
    // Windows
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    // Linux and Python
    "lost+found",
    "__pycache__",
];

/// Returns true if a file or folder of this name was left behind by a system and holds no data.
pub(crate) fn is_leftover(name: &OsStr) -> bool {
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns true if a name is hidden, such as `.DS_Store`, `._photo.jpg`, `.thumbnails`, `.@__thumb`,
/// `.Trash-1000` and `.ipynb_checkpoints`.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
