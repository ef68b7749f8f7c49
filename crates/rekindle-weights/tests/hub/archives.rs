//! Archives, honest and hostile.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rekindle_weights::Error;
use rekindle_weights::hub::unzip;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::server::{Server, send};
use crate::{hub, quiet};

fn archive(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn archives_are_fetched_unpacked_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed.zip");
    archive(
        &packed,
        &[("data/train/ants/1.jpg", b"ant"), ("data/readme.txt", b"")],
    );
    let bytes = fs::read(packed).unwrap();
    let server = Server::start(move |request, stream| send(request, stream, &bytes));
    for _ in 0..2 {
        let data = hub(folder.path())
            .fetch_archive(
                &server.url("data.zip"),
                "data.zip",
                None,
                1 << 20,
                &mut quiet,
            )
            .unwrap();
        assert_eq!(data, folder.path().join("unpacked/data"));
        assert_eq!(
            fs::read(data.join("data/train/ants/1.jpg")).unwrap(),
            b"ant"
        );
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn archives_that_reach_out_or_swell_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    archive(
        &at("up.zip"),
        &[("fine.txt", b"1"), ("../../outside.txt", b"2")],
    );
    archive(&at("root.zip"), &[("/../outside.txt", b"2")]);
    archive(&at("bomb.zip"), &[("zeros", &vec![0; 10 << 20])]);
    assert!(fs::metadata(at("bomb.zip")).unwrap().len() < 100_000);
    let mut zip = ZipWriter::new(File::create(at("link.zip")).unwrap());
    zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    zip.finish().unwrap();

    for name in ["up.zip", "root.zip", "bomb.zip", "link.zip"] {
        let error = unzip(&at(name), &at("out"), 1 << 20).unwrap_err();
        assert!(
            matches!(error, Error::UnsafeArchive { .. }),
            "{name}: {error:?}"
        );
        assert!(!at("out").exists());
    }
    assert!(!at("outside.txt").exists());
    // Nothing but the four archives is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);

    fs::write(at("cut.zip"), &fs::read(at("bomb.zip")).unwrap()[..1000]).unwrap();
    let error = unzip(&at("cut.zip"), &at("out"), 1 << 30).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
}
