//! Reading whole files, and replacing a file so that nobody ever sees half of it.
//!
//! ```no_run
//! use std::io::Write;
//! rnnc::runtime::files::replace("run.safetensors".as_ref(), |file| file.write_all(b"all of it"))?;
//! # Ok::<(), rnnc::runtime::files::FileError>(())
//! ```
//!
//! New content goes to a temporary file in the same folder, is synced and then renamed. Any failure
//! (a full disk, no permission, an error of the writer) leaves the old file as it was and no
//! temporary one. What the bytes mean is the caller's business.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a file cannot be read or written; each names the file.
#[derive(Debug, Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system or the writer refused; the old file, if any, is as it was.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder or a device, where a file is needed.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
}

/// The whole content of a regular file. A device is refused: it may have no end.
///
/// # Errors
/// The file is missing, unreadable or not a regular file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let wrap = |source| FileError::Read { path: path.to_path_buf(), source };
    if !fs::metadata(path).map_err(wrap)?.is_file() {
        return Err(FileError::NotAFile { path: path.to_path_buf() });
    }
    fs::read(path).map_err(wrap)
}

/// What [`replace`] gives to the function that writes.
pub trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

/// Gives `path` the content that `write` writes, wholly or not at all.
///
/// A symbolic link stays one: the file that it leads to is replaced.
///
/// # Errors
/// The folder is missing or not writable, the disk is full, `write` fails, or `path` is a folder or
/// a device.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Sink) -> io::Result<()>) -> Result<(), FileError> {
    let wrap = |source| FileError::Write { path: path.to_path_buf(), source };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = folder_of(path, &target)?;
    let mut temporary = builder().tempfile_in(folder).map_err(|error| wrap(plain(error)))?;
    {
        let mut buffered = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
        write(&mut buffered).map_err(wrap)?;
        buffered.flush().map_err(wrap)?;
    }
    temporary.as_file().sync_all().map_err(wrap)?;
    temporary.persist(&target).map_err(|error| wrap(error.error))?;
    // The rename itself lasts once the folder is synced; where a system cannot do that, it is no error.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// That [`replace`] could begin: the folder is there and takes new files.
///
/// # Errors
/// As [`replace`], but for a disk that fills up later.
pub fn check_replaceable(path: &Path) -> Result<(), FileError> {
    let wrap = |source| FileError::Write { path: path.to_path_buf(), source };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    builder().tempfile_in(folder_of(path, &target)?).map_err(|error| wrap(plain(error)))?;
    Ok(())
}

/// The folder of a file that may be replaced.
fn folder_of<'t>(path: &Path, target: &'t Path) -> Result<&'t Path, FileError> {
    if target.exists() && !target.is_file() {
        return Err(FileError::NotAFile { path: path.to_path_buf() });
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Missing folders would otherwise be reported with the temporary file's name.
    if !folder.is_dir() {
        let reason = format!("the folder {} does not exist", folder.display());
        let source = io::Error::new(io::ErrorKind::NotFound, reason);
        return Err(FileError::Write { path: path.to_path_buf(), source });
    }
    Ok(folder)
}

/// Temporary files are private by default; what they become should be as readable as any new file.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".rnnc-").suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// The error without the temporary path that `tempfile` adds: the user knows only the target.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((reason, _)) => io::Error::new(error.kind(), reason.to_string()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        for content in [&b"first"[..], b"second, longer"] {
            replace(&path, |file| file.write_all(content)).unwrap();
            assert_eq!(read(&path).unwrap(), content);
            assert_eq!(names(folder.path()), ["run"]);
        }
    }

    #[test]
    fn a_failing_writer_leaves_the_old_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::write(&path, b"old").unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = replace(&path, |file| {
            file.write_all(&[0; 3_000_000])?;
            Err(full())
        });
        assert_eq!(error.unwrap_err().to_string(), format!("cannot write {}: {}", path.display(), full()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["run"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_device_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::write(&path, b"old").unwrap();
        let error = replace(&path, |_| File::options().write(true).open("/dev/full")?.write_all(b"x"));
        assert!(error.unwrap_err().to_string().contains("No space left on device"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["run"]);
        assert!(matches!(replace(Path::new("/dev/full"), |_| Ok(())), Err(FileError::NotAFile { .. })));
    }

    #[test]
    fn bad_places() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(replace(folder.path(), |_| Ok(())), Err(FileError::NotAFile { .. })));
        assert!(matches!(read(folder.path()), Err(FileError::NotAFile { .. })));
        let error = replace(&at("none/run"), |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.ends_with("none does not exist"), "{error}");
        assert!(read(&at("none")).unwrap_err().to_string().starts_with("cannot read "));
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"old").unwrap();
        symlink("file", &link).unwrap();
        replace(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // As readable as a file that is written plainly, whatever the mask of this process.
        let plain = folder.path().join("plain");
        fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&file), mode(&plain));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_without_permission() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
        let result = replace(&closed.join("run"), |file| file.write_all(b"x"));
        // The super-user may write anywhere; for everyone else this is one error that names the file.
        if let Err(error) = result {
            let text = error.to_string();
            assert!(text.ends_with("closed/run: Permission denied (os error 13)"), "{text}");
            assert!(names(&closed).is_empty());
        }
    }
}
